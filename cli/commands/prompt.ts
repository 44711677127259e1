/** Questions to the person at the terminal. What is hidden is not shown while it is typed, nor anywhere else. */
import { FrotaError } from '../../proto/base/errors.ts';
import type { Host, PersonTerminal } from './host.ts';

export interface Question {
  readonly text: string;
  readonly hidden: boolean;
}

const interrupt = '\u0003';
const endOfInput = '\u0004';
const erasers: readonly string[] = ['\u007f', '\b'];
/** No name, password or token is longer. */
const maxAnswerLength = 16 * 1024;

/** One answer each, in order; keys come one by one, so that nothing is echoed that should not be. @throws FrotaError `cancelled`. */
export async function ask(host: Host, person: PersonTerminal, questions: readonly Question[]): Promise<string[]> {
  const answers: string[] = [];
  const restore = person.raw();
  try {
    const keys = keysOf(host.stdin());
    for (const { text, hidden } of questions) {
      host.terminal.err(text);
      answers.push(await readLine(keys, hidden ? () => undefined : (key) => { host.terminal.err(key); })); // prettier-ignore
      host.terminal.err('\r\n');
    }
    return answers;
  } finally {
    restore();
  }
}

async function readLine(keys: AsyncIterator<string>, show: (key: string) => void): Promise<string> {
  let line: string[] = [];
  for (;;) {
    const next = await keys.next();
    const key = next.done === true ? interrupt : next.value;
    if (key === interrupt || (key === endOfInput && line.length === 0))
      throw new FrotaError('cancelled', 'nothing was answered; nothing was changed');
    if (key === '\r' || key === '\n') return line.join('');
    if (erasers.includes(key)) {
      if (line.length > 0) show('\b \b');
      line = line.slice(0, -1);
    } else if (key >= ' ' && line.length < maxAnswerLength) {
      line.push(key);
      show(key);
    }
  }
}

/** Characters, whatever pieces they come in. */
async function* keysOf(stdin: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  for await (const chunk of stdin) yield* decoder.decode(chunk, { stream: true });
}
