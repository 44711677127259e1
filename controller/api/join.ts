/** Use-case: a new machine becomes a node. The token is used up and the node recorded in one transaction. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { Clock } from '../../proto/base/clock.ts';
import type { Node, NodeLiveness } from '../../proto/domain/node.ts';
import { freeSubnet } from '../network/subnets.ts';
import type { Snapshot, Stored } from '../plan/snapshot.ts';

export interface JoinPorts {
  readonly snapshot: () => Snapshot;
  readonly liveness: () => ReadonlyMap<string, NodeLiveness>;
  /**
   * Uses up the token, deletes `replaces` and puts the node, all or nothing. `conflict`: nodes changed meanwhile.
   * @throws FrotaError `unauthenticated` for a token that is unknown, used up, expired or wrong.
   */
  readonly admit: (token: string, node: Node, replaces: Stored<Node> | undefined) => Promise<'admitted' | 'conflict'>;
  readonly newId: () => string;
  readonly clock: Clock;
}

/** Two machines that join at the same instant may draw the same subnet; one of them draws again. */
const maxAdmitRounds = 10;
const namePattern = /^[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?$/;

export async function joinNode(ports: JoinPorts, token: string, name: string): Promise<Node> {
  if (!namePattern.test(name)) {
    throw new FrotaError(
      'invalid',
      `"${name}" cannot be a node's name: 1 to 63 letters, digits, "." and "-", as in host names; give another with --name`,
    );
  }
  for (let round = 0; round < maxAdmitRounds; round += 1) {
    const snapshot = ports.snapshot();
    const nodes = [...snapshot.nodes.values()];
    const namesake = nodes.find(({ value }) => value.name === name);
    if (namesake !== undefined) refuseLiving(namesake.value, ports.liveness(), snapshot.facts.has(namesake.value.id));
    const others = nodes.filter((node) => node !== namesake);
    const node: Node = {
      id: ports.newId(),
      name,
      availability: 'active',
      subnet: freeSubnet(snapshot.containerPool, [...others.map(({ value }) => value.subnet)]),
      labels: {},
      joinedAtMs: ports.clock.now().wallMs,
    };
    if ((await ports.admit(token, node, namesake)) === 'admitted') return node;
  }
  throw new FrotaError('conflict', `node "${name}" could not be recorded: too many machines join at once; try again`);
}

/** A machine that was lost and set up anew may take its old name; one that lives keeps it. */
function refuseLiving(node: Node, liveness: ReadonlyMap<string, NodeLiveness>, saidHello: boolean): void {
  const state = liveness.get(node.id)?.state;
  if (state === 'down' || (state === undefined && !saidHello)) return;
  if (state === undefined) {
    throw new FrotaError(
      'unavailable',
      `there is a node "${node.name}" already, and this controller has just started and not heard of it yet; try again in a few seconds`,
    );
  }
  throw new FrotaError(
    'already-exists',
    `there is a node "${node.name}" already (${state}); give this machine another name with --name, or stop the other first`,
  );
}
