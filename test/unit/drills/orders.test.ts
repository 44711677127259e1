import { describe, expect, it } from 'vitest';
import { cutController, cutLink } from '../../../agent/drills/fault-rules.ts';
import { cgroupPathOf } from '../../../agent/drills/own-cgroup.ts';
import { TallyKeeper } from '../../../agent/drills/probe-tally.ts';
import { streamUp } from '../../../proto/codec/streams.ts';
import { openStreamFromWire, openStreamToWire } from '../../../proto/codec/streams.ts';
import type { OpenStream } from '../../../proto/codec/streams.ts';
import { messageCodec } from '../../../proto/codec/wire.ts';
import type { DrillAnswer, DrillOrder } from '../../../proto/domain/drill-orders.ts';

const openStream = messageCodec<OpenStream, 'OpenStream'>('OpenStream', openStreamToWire, openStreamFromWire);

describe('orders and answers on the wire', () => {
  const probe = { kind: 'tcp', path: '/', perSecond: 50, targets: ['192.0.2.1:80'], containerPort: 80 } as const;
  const orders: readonly DrillOrder[] = [
    { kind: 'arm', drillId: 'd', fault: 'node-loss', undoWithinMs: 9_000, stopKey: 'ab' },
    { kind: 'arm', drillId: 'd', fault: 'container-kill', undoWithinMs: 9_000, stopKey: 'ab', taskId: 't' },
    { kind: 'inject', drillId: 'd' },
    { kind: 'undo', drillId: 'd' },
    { kind: 'ask', drillId: 'd' },
    { kind: 'probe', drillId: 'd', probe, service: 'shop/web', atMostMs: 1_000 },
    { kind: 'count', drillId: 'd', end: true },
    { kind: 'count', drillId: 'd', end: false },
  ];
  it.each(orders)('$kind arrives as it was sent', (order) => {
    const sent: OpenStream = { kind: 'open', streamId: 's', request: { kind: 'drill', order } };
    expect(openStream.decode(openStream.encode(sent))).toEqual(sent);
  });

  const answers: readonly DrillAnswer[] = [
    { kind: 'armed', agentId: 'a', stopPort: 12_345 },
    { kind: 'armed', agentId: 'a' },
    { kind: 'injecting', inMs: 100 },
    { kind: 'state', state: { agentId: 'a', injected: true, undone: false, problems: ['x'] } },
    { kind: 'state', state: { agentId: 'a', injected: true, undone: true, undoneBy: 'timer', problems: [] } },
    { kind: 'probing' },
    {
      kind: 'tally',
      tally: {
        ranMs: 9,
        sent: 3,
        failed: 1,
        longestGapMs: 4,
        firstFailureMs: 1,
        lastFailureMs: 2,
        latencyMs: { median: 0.5, p99: 1.5 },
        failures: { ECONNREFUSED: 1 },
        endpoints: [
          { taskId: 't', inForceMs: 3 },
          { taskId: 'u', inForceMs: 3, answeredMs: 4 },
        ],
      },
    },
  ];
  it.each(answers)('$kind is answered as it was said', (answer) => {
    expect(streamUp.decode(streamUp.encode({ kind: 'drill', answer }))).toEqual({ kind: 'drill', answer });
  });
});

describe('the rules of a fault', () => {
  it('cut the uplink but for the word that ends it', () => {
    expect(cutLink('d1', 'eth0', 4_711)).toBe(
      [
        'table inet frota_drill_d1 {',
        '  chain arriving {',
        '    type filter hook prerouting priority -400; policy accept;',
        '    udp dport 4711 accept',
        '    iifname "eth0" drop',
        '  }',
        '  chain leaving {',
        '    type filter hook postrouting priority -400; policy accept;',
        '    oifname "eth0" drop',
        '  }',
        '}',
        '',
      ].join('\n'),
    );
  });

  it('keep a node from its controller alone', () => {
    const text = cutController('d1', { address: '192.0.2.1', ports: [7_400], livenessPort: 7_402 }, 7_403);
    expect(text).toContain('ip daddr 192.0.2.1 tcp dport { 7400 } drop');
    expect(text).toContain('ip daddr 192.0.2.1 udp dport 7402 drop');
    expect(text).toContain('ip saddr 192.0.2.1 udp dport 7403 drop');
    expect(cutController('d1', { address: '2001:db8::1', ports: [1], livenessPort: 2 }, 3)).toContain(
      'ip6 saddr 2001:db8::1',
    );
  });
});

describe('the tally', () => {
  it('counts failures when they were asked, and the longest time without an answer', () => {
    const keeper = new TallyKeeper();
    for (let request = 0; request < 4; request += 1) keeper.sent();
    keeper.ended({ kind: 'answered', tookMs: 2 }, 98, 100);
    keeper.ended({ kind: 'failed', reason: 'ECONNRESET' }, 120, 130);
    keeper.ended({ kind: 'failed', reason: 'no answer' }, 110, 1_110);
    keeper.ended({ kind: 'answered', tookMs: 10 }, 1_390, 1_400);
    expect(keeper.tally(1_500)).toEqual({
      ranMs: 1_500,
      sent: 4,
      failed: 2,
      longestGapMs: 1_300,
      firstFailureMs: 110,
      lastFailureMs: 120,
      latencyMs: { median: 10, p99: 10 },
      failures: { ECONNRESET: 1, 'no answer': 1 },
      endpoints: [],
    });
    // Nobody answers any more.
    expect(keeper.tally(9_000).longestGapMs).toBe(7_600);
  });

  it('dates each new task once', () => {
    const keeper = new TallyKeeper();
    expect([keeper.inForce('t', 10), keeper.inForce('t', 20)]).toEqual([true, false]);
    keeper.endpointAnswered('t', 30);
    keeper.endpointAnswered('t', 40);
    expect(keeper.tally(50).endpoints).toEqual([{ taskId: 't', inForceMs: 10, answeredMs: 30 }]);
  });

  it('keeps a bounded number of reasons', () => {
    const keeper = new TallyKeeper();
    for (let reason = 0; reason < 100; reason += 1) keeper.ended({ kind: 'failed', reason: String(reason) }, 0, 1);
    expect(Object.keys(keeper.tally(1).failures).length).toBeLessThanOrEqual(21);
    expect(keeper.tally(1).failed).toBe(100);
  });
});

describe('where a process lives', () => {
  it.each([
    ['0::/frota/n1/agent\n', '/frota/n1/agent'],
    ['12:cpu,cpuacct:/frota/n1/agent\n0::/frota/n1/agent\n', '/frota/n1/agent'],
    ['2:memory:/\n1:name=systemd:/system.slice/frota.service\n0::/\n', '/system.slice/frota.service'],
    ['0::/\n', '/'],
  ])('%j', (text, path) => {
    expect(cgroupPathOf(text)).toBe(path);
  });
});
