/** How people and images write the signal that asks a container to end. Which number it has, the node knows. */

/** Of Linux, without their `SIG` (signal(7)). */
const names: ReadonlySet<string> = new Set(
  (
    'HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU ' +
    'URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS RTMIN RTMAX'
  ).split(' '),
);
const maxSignal = 64;
/** From RTMIN, which the C library puts at 34, to RTMAX. */
const realTimeSignals = 30;

/** `SIGQUIT`, `quit`, `3`, `SIGRTMIN+3`. */
export function isStopSignal(text: string): boolean {
  if (/^\d{1,2}$/.test(text)) return Number(text) >= 1 && Number(text) <= maxSignal;
  const name = text.toUpperCase().replace(/^SIG/, '');
  const realTime = /^RT(?:MIN\+|MAX-)(\d{1,2})$/.exec(name);
  return realTime === null ? names.has(name) : Number(realTime[1]) <= realTimeSignals;
}
