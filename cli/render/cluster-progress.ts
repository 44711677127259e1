/** How a local cluster comes up: its steps, then its nodes until they are ready. */
import type { Colours } from './colours.ts';
import type { LiveBlock } from './progress.ts';
import { paintState } from './views.ts';

export interface NodeStanding {
  readonly name: string;
  /** `starting`: the controller does not know it yet. */
  readonly state: string;
}

export interface ClusterView {
  step(line: string): void;
  nodes(nodes: readonly NodeStanding[]): void;
  /** Leaves the last state standing. */
  close(): void;
}

export function liveCluster(block: LiveBlock, name: string, colours: Colours): ClusterView {
  const steps: string[] = [];
  let standing: readonly NodeStanding[] = [];
  const draw = (): void => {
    const rows = [
      ...steps.map((line) => colours.dim(line)),
      ...standing.map((node) => `${node.name} ${paintState(node.state, colours)}`),
    ];
    const marked = rows.map((row, index) => `${index === rows.length - 1 ? '└' : '├'} ${row}`);
    block.write([colours.bold(name), ...marked].join('\n'));
  };
  return {
    step: (line) => {
      steps.push(line);
      draw();
    },
    nodes: (nodes) => {
      standing = nodes;
      draw();
    },
    close: () => {
      block.finish();
    },
  };
}

/** A line a step, and one whenever other nodes are waited for. */
export function plainCluster(write: (text: string) => void, colours: Colours): ClusterView {
  let waits = '';
  return {
    step: (line) => {
      write(`${colours.dim(line)}\n`);
    },
    nodes: (nodes) => {
      const late = nodes.filter(({ state }) => state !== 'ready').map(({ name }) => name);
      const line =
        late.length === 0 ? '' : `waiting until ${late.join(', ')} ${late.length === 1 ? 'is' : 'are'} ready`;
      if (line !== '' && line !== waits) write(`${colours.dim(line)}\n`);
      waits = line;
    },
    close: () => undefined,
  };
}

/** One object a line whenever something changed: `{"progress": …}`. */
export function jsonCluster(write: (text: string) => void): ClusterView {
  let last = '';
  const tell = (progress: object): void => {
    const line = JSON.stringify({ progress });
    if (line !== last) write(`${line}\n`);
    last = line;
  };
  return {
    step: (step) => {
      tell({ step });
    },
    nodes: (nodes) => {
      tell({ nodes });
    },
    close: () => undefined,
  };
}
