/**
 * Where a process's log goes, such that it never stops or holds up the process: a line that can't be written (the disk is
 * full, nobody reads) is lost, and how many were lost is said as soon as one can be written again.
 */
export interface LogDestination {
  /** One line with its end, as pino gives it. Never throws. */
  write(line: string): void;
}

const encoder = new TextEncoder();

/** `writeSome`: writes at once, throws when it can't, and says how many bytes it took (write(2)). */
export function createLogDestination(writeSome: (bytes: Uint8Array) => number): LogDestination {
  let lostLines = 0;
  /** The last line was cut off in the midst. */
  let isTorn = false;

  function writeAll(text: string): void {
    let rest = encoder.encode(text);
    while (rest.length > 0) {
      const written = writeSome(rest);
      isTorn = written < rest.length;
      rest = rest.subarray(written);
    }
  }

  return {
    write: (line) => {
      try {
        if (isTorn) writeAll('\n');
        if (lostLines > 0) {
          writeAll(`{"level":40,"msg":"lines of this log that could not be written are lost: ${String(lostLines)}"}\n`);
        }
        lostLines = 0;
        writeAll(line);
      } catch {
        lostLines += 1;
      }
    },
  };
}
