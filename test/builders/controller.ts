/** A real controller process (`dist/controller/main.js`) on loopback, as a local cluster starts it, for tests that kill it. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { connectControl } from '../../cli/commands/connect.ts';
import type { Control } from '../../cli/commands/control.ts';
import { readContextFile } from '../../cli/contexts/contexts-file.ts';
import { FrotaError } from '../../proto/base/errors.ts';
import { freePort } from './etcd.ts';

const program = resolve(import.meta.dirname, '../../dist/controller/main.js');
/** It is up within half a second on an idle machine; this one is shared. */
const startTimeoutMs = 30_000;

export interface ControllerProcess {
  /** Its `--data`; stays over `kill` and `start`. */
  readonly folder: string;
  /** Resolves when it is up. @throws FrotaError `unavailable` with the end of its output when it ends instead */
  start(): Promise<void>;
  /** SIGKILL; resolves when it is gone. Twice is fine. */
  kill(): Promise<void>;
  /** As the administrator, over gRPC. The caller closes it. */
  control(): Promise<Control>;
}

/** The ports are chosen once, so that the administrator's context stays right. */
export async function createController(folder: string, args: readonly string[] = []): Promise<ControllerProcess> {
  const listen = async (): Promise<string> => `127.0.0.1:${String(await freePort())}`;
  const argv = [program, 'controller', '--data', folder, '--listen', await listen(), '--join-listen', await listen()];
  argv.push('--liveness-listen', await listen(), ...args);
  let child: ChildProcess | undefined;
  return {
    folder,
    start: async () => {
      child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env.PATH } });
      await up(child);
    },
    kill: async () => {
      const ending = child;
      child = undefined;
      if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return;
      const ended = once(ending, 'exit');
      ending.kill('SIGKILL');
      await ended;
    },
    control: async () => connectControl(await readContextFile(join(folder, 'admin-context.json'))),
  };
}

function up(child: ChildProcess): Promise<void> {
  const killWithUs = (): void => void child.kill('SIGKILL');
  process.once('exit', killWithUs);
  return new Promise((resolve, reject) => {
    let output = '';
    const fail = (why: string): void => {
      clearTimeout(timer);
      reject(
        new FrotaError('unavailable', `the controller ${why}: ${output.trim().split('\n').slice(-3).join(' | ')}`),
      );
    };
    const timer = setTimeout(() => {
      fail('is not up in time');
    }, startTimeoutMs);
    const read = (chunk: Buffer): void => {
      // The end is enough to see what went wrong; a busy controller writes a lot.
      output = (output + chunk.toString()).slice(-8_000);
      if (!output.includes('controller is up')) return;
      clearTimeout(timer);
      resolve();
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('exit', (code, signal) => {
      process.off('exit', killWithUs);
      fail(`ended with ${String(code ?? signal)}`);
    });
  });
}

/** Answers for every tag with one digest, which is all that `apply` asks of a registry. */
export async function startTagAnswers(): Promise<{ readonly host: string; close(): void }> {
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('docker-content-digest', `sha256:${'d'.repeat(64)}`);
    response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json');
    response.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
