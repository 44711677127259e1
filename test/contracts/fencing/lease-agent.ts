/** An agent's stand-in: leases, lease files and the guard as an agent has them; it answers its own questions. Started by `guard.test.ts`. */
import { join } from 'node:path';
import { readBootMs } from '../../../agent/fencing/boot-clock.ts';
import { Guard } from '../../../agent/fencing/guard.ts';
import { LeaseFiles } from '../../../agent/fencing/lease-files.ts';
import { TaskLeases } from '../../../agent/fencing/task-leases.ts';
import { detectCgroupLayout, killCgroup, makeCgroup, moveToCgroup } from '../../../agent/host/cgroups.ts';
import { silentLogger } from '../../../proto/base/log.ts';
import { aTemplate } from '../../builders/domain.ts';
import { assignedTask } from '../../fakes/agent-ports.ts';

const [folder = '', parent = '', leaseMs = ''] = process.argv.slice(2);
const layout = await detectCgroupLayout();
await makeCgroup(layout, join(parent, 'agent'));
await moveToCgroup(layout, join(parent, 'agent'), process.pid);
const cgroupOf = (taskId: string): string => join(parent, 'containers', taskId);
const task = assignedTask('t1', { fence: 1, template: aTemplate({ fenceLeaseMs: Number(leaseMs) }) });
const leases: TaskLeases = new TaskLeases({
  files: new LeaseFiles(folder, layout, cgroupOf),
  guard: new Guard({ folder, cgroup: join(parent, 'guard'), layout, logger: silentLogger }),
  assigned: () => [task],
  ask: (number) => {
    setImmediate(() => {
      leases.granted({ kind: 'lease', number, taskIds: ['t1'] });
    });
    return true;
  },
  kill: (taskId) => killCgroup(layout, cgroupOf(taskId)),
  bootMs: readBootMs,
  logger: silentLogger,
});
await leases.arm(task, new AbortController().signal);
process.stdout.write('armed\n');
process.on('SIGTERM', () => {
  void leases
    .release('t1')
    .then(() => leases.close())
    .then(() => process.exit());
});
