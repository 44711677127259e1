import type { Command } from 'commander';
import { durationFlag, waitOption, wholeFlag } from './flags.ts';
import { examples, globalOptions, printResult } from './host.ts';
import type { Host } from './host.ts';
import { viewOf } from './waiting-view.ts';

interface UpFlags {
  readonly nodes?: number;
  readonly wait?: boolean;
  readonly timeout?: number;
}

/** Only a bound for the parser; `cli/local` knows how many a machine carries. */
const maxNodes = 1000;

export function registerClusterUp(cluster: Command, host: Host): void {
  cluster
    .command('up')
    .description('start a local cluster in the background, or what is missing of it, and write its context')
    .argument('[name]', "the cluster's name", 'local')
    .option('--nodes <n>', 'how many nodes (default: 3, or as many as there are)', wholeFlag(1, maxNodes))
    .addOption(waitOption('return only when every node is ready'))
    .option(
      '--timeout <duration>',
      'with --wait: give up waiting for the nodes after this long (default: 90s)',
      durationFlag,
    )
    .addHelpText('after', examples('cluster up', 'cluster up --nodes 5 --wait', 'cluster up demo --nodes 1'))
    .action(async (name: string, flags: UpFlags, command: Command) => {
      const [{ clusterUp }, { configFolder }, { localContexts, localControl }, views] = await Promise.all([
        import('../local/index.ts'),
        import('../contexts/contexts-file.ts'),
        import('./local-cluster.ts'),
        import('../render/cluster-progress.ts'),
      ]);
      const globals = globalOptions(command);
      const view = await viewOf(host, globals, {
        live: (block, colours) => views.liveCluster(block, name, colours),
        plain: views.plainCluster,
        json: views.jsonCluster,
      });
      const up = await clusterUp({
        name,
        ...(flags.nodes !== undefined && { nodes: flags.nodes }),
        ...(flags.timeout !== undefined && { timeoutMs: flags.timeout }),
        wait: flags.wait === true,
        contexts: localContexts(configFolder(host.environment)),
        connect: (entry) => localControl(host, entry),
        onProgress: (line) => {
          view.step(line);
        },
        onNodes: (nodes) => {
          view.nodes(nodes);
        },
        signal: host.signal,
      }).finally(() => {
        view.close();
      });
      await printResult(host, globals, up, async () => {
        const { tableText } = await import('../render/table.ts');
        const rows = up.nodes.map((node) => [node.name, node.address, node.state, node.change]);
        const head = `cluster ${up.name}: ${up.change}\ncontroller ${up.controller}, registry ${up.registry}\n\n`;
        return head + tableText(host.terminal.outColours, ['NODE', 'ADDRESS', 'STATE', 'CHANGE'], rows);
      });
    });
}
