import { describe, expect, it } from 'vitest';
import { loadWeb, problemsOf, webWith } from './load-text.ts';

const tcp = (target: number, published?: number): object =>
  published === undefined ? { target, protocol: 'tcp' } : { target, published, protocol: 'tcp' };

describe('ports', () => {
  it.each([
    ['[80]', [tcp(80)]],
    ['["80"]', [tcp(80)]],
    ['["8080:80"]', [tcp(80, 8080)]],
    ['[8080:80]', [tcp(80, 8080)]],
    ['["53:53/udp"]', [{ target: 53, published: 53, protocol: 'udp' }]],
    ['["53/UDP"]', [{ target: 53, protocol: 'udp' }]],
    ['["8000-8001:80-81"]', [tcp(80, 8000), tcp(81, 8001)]],
    ['["80-81"]', [tcp(80), tcp(81)]],
    ['[":80"]', [tcp(80)]],
    ['["${NONE}:80"]', [tcp(80)]],
    ['["80:80", "80:80/udp"]', [tcp(80, 80), { target: 80, published: 80, protocol: 'udp' }]],
    ['[{target: 80}]', [tcp(80)]],
    ['[{target: "80", published: "8080", protocol: tcp, mode: ingress}]', [tcp(80, 8080)]],
    ['[{target: 80, published: 8080, protocol: udp}]', [{ target: 80, published: 8080, protocol: 'udp' }]],
    ['[{target: 80, published: ""}]', [tcp(80)]],
    ['[]', []],
  ])('%s', (ports, expected) => {
    expect(loadWeb(`ports: ${ports}`).ports).toEqual(expected);
  });

  it.each([
    [
      '["127.0.0.1:8080:80"]',
      '4:13 services.web.ports[0]: every node publishes on all of its addresses, so "127.0.0.1" can\'t be chosen; write "8080:80"',
    ],
    ['["[::1]:8080:80/udp"]', 'write "8080:80/udp"'],
    ['["127.0.0.1::80"]', 'write ":80"'],
    [
      '[{target: 80, host_ip: 127.0.0.1}]',
      'services.web.ports[0].host_ip: not supported by this version of Frota; every node publishes',
    ],
    ['["8000-8002:80"]', '3 published ports for 1 in the container'],
    ['["0:80"]', 'with ports from 1 to 65535, found the string "0:80"'],
    ['["80:65536"]', 'found the string "80:65536"'],
    ['["81-80"]', 'found the string "81-80"'],
    ['["a:b"]', 'found the string "a:b"'],
    ['["80/sctp"]', 'expected protocol tcp or udp, found "sctp"'],
    ['["80/tcp/udp"]', 'found the string "80/tcp/udp"'],
    ['[80.5]', 'found the number 80.5'],
    ['[-80]', 'found the number -80'],
    ['[true]', 'found the boolean true'],
    ['[[80]]', 'found a list'],
    ['80', 'services.web.ports: expected a list, found the number 80'],
    ['["1-65535"]', '65535 ports; a service may have 256'],
    ['["1-200:1-200", "201-400:201-400"]', '400 ports; a service may have 256'],
    [
      '["80:80", "80:81"]',
      '4:22 services.web.ports[1]: port 80/tcp is already published by services.web.ports[0] on line 4',
    ],
    ['[{published: 80}]', 'needs "target", the port in the container'],
    ['[{target: x}]', 'expected a whole number from 1 to 65535, found the string "x"'],
    ['[{target: 80, published: 8000-8010}]', "can't be served by every node"],
    ['[{target: 80, mode: host}]', 'services.web.ports[0].mode: not supported by this version'],
    ['[{target: 80, mode: hots}]', 'expected "ingress", found "hots"'],
    ['[{target: 80, protocol: sctp}]', 'services.web.ports[0].protocol: expected protocol tcp or udp'],
    ['[{traget: 80, target: 80}]', 'services.web.ports[0].traget: unknown key; did you mean "target"?'],
  ])('%s is refused', (ports, message) => {
    const problems = problemsOf(webWith(`ports: ${ports}`));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(message);
  });

  it('finds two services that publish the same port', () => {
    const text = 'services:\n  a: {image: x, ports: ["80:1"]}\n  b: {image: x, ports: ["80:2"]}\n';
    expect(problemsOf(text)).toEqual([
      '3:25 services.b.ports[0]: port 80/tcp is already published by services.a.ports[0] on line 2',
    ]);
  });
});
