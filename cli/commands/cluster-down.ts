import type { Command } from 'commander';
import { examples, globalOptions, printResult } from './host.ts';
import type { Host } from './host.ts';

export function registerClusterDown(cluster: Command, host: Host): void {
  cluster
    .command('down')
    .description('stop a local cluster and remove its processes, containers, mounts and networks')
    .argument('[name]', "the cluster's name", 'local')
    .option('--volumes', 'its folders too: images, what was declared, the context')
    .addHelpText('after', examples('cluster down', 'cluster down demo --volumes'))
    .action(async (name: string, flags: { readonly volumes?: boolean }, command: Command) => {
      const [{ clusterDown }, { configFolder }, { localContexts, progressTo }] = await Promise.all([
        import('../local/index.ts'),
        import('../contexts/contexts-file.ts'),
        import('./local-cluster.ts'),
      ]);
      const down = await clusterDown({
        name,
        volumes: flags.volumes === true,
        contexts: localContexts(configFolder(host.environment)),
        onProgress: progressTo(host),
      });
      await printResult(host, globalOptions(command), down, () =>
        down.found ? `cluster ${name} is down\n` : `cluster ${name}: nothing of it is here\n`,
      );
    });
}
