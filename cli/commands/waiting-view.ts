import type { Colours } from '../render/colours.ts';
import type { LiveBlock } from '../render/progress.ts';
import type { GlobalOptions, Host } from './host.ts';

type Write = (text: string) => void;

/** The forms in which one kind of waiting is told. */
export interface Views<View> {
  readonly live: (block: LiveBlock, colours: Colours) => View;
  readonly plain: (write: Write, colours: Colours) => View;
  readonly json: (write: Write) => View;
}

/** On standard error: a block that is rewritten on a terminal, objects for scripts, lines elsewhere. */
export async function viewOf<View>(
  { terminal }: Host,
  { output }: Pick<GlobalOptions, 'output'>,
  { live, plain, json }: Views<View>,
): Promise<View> {
  const write = (text: string): void => {
    terminal.err(text);
  };
  const block = await terminal.live();
  if (block !== undefined) return live(block, terminal.errColours);
  return output === 'json' ? json(write) : plain(write, terminal.errColours);
}
