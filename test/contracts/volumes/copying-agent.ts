/** An agent's stand-in that a test kills: prepares one task's mounts, over and over with new volumes, until it is dead. */
import { createNodeVolumes } from '../../../agent/volumes/node-volumes.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { assignedTask } from '../../fakes/agent-ports.ts';
import type { AssignedTask } from '../../../proto/domain/assignment.ts';
import type { Image } from '../../../agent/images/images.ts';

const [, , folders = '', image = '', first = '0'] = process.argv;
const volumes = createNodeVolumes({
  ...(JSON.parse(folders) as { dataDir: string; runDir: string }),
  nodeName: 'n1',
  logger: silentLogger,
});
process.stdout.write('ready\n');
for (let round = Number(first); ; round += 1) {
  const mount = {
    kind: 'volume',
    volume: `v${String(round)}`,
    target: '/data',
    readOnly: false,
    noCopy: false,
  } as const;
  const task: AssignedTask = { ...assignedTask('a'), template: { ...assignedTask('a').template, mounts: [mount] } };
  const { settle } = await volumes.prepare(task, JSON.parse(image) as Image, new AbortController().signal);
  await settle();
}
