import type { Command } from 'commander';
import { durationFlag } from './flags.ts';
import { examples, globalOptions, printResult, withControl } from './host.ts';
import type { Host } from './host.ts';

const hourMs = 3_600_000;

export function registerClusterToken(cluster: Command, host: Host): void {
  cluster
    .command('token')
    .description("print the line with which another machine's agent joins; its token works once")
    .option('--ttl <duration>', 'how long the token is good', durationFlag)
    .addHelpText(
      'after',
      `\nWithout --ttl the token is good for 1h.\n${examples('cluster token', 'cluster token --ttl 10m')}`,
    )
    .action(async (flags: { readonly ttl?: number }, command: Command) => {
      const globals = globalOptions(command);
      const ttlSeconds = Math.ceil((flags.ttl ?? hourMs) / 1000);
      await withControl(host, globals, async (control) => {
        const { token, joinAddress, expiresAtMs } = await control.createJoinToken(ttlSeconds, host.signal);
        const line = `frota agent --join ${joinAddress} --token ${token}`;
        const result = { token, joinAddress, expiresAt: new Date(expiresAtMs).toISOString(), command: line };
        await printResult(host, globals, result, () => `${line}\n`);
      });
    });
}
