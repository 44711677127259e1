import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judge, newRecord, pingEveryMs, probeEveryMs } from '../../../controller/liveness/judge.ts';
import type { JudgeInput, NodeRecord } from '../../../controller/liveness/judge.ts';
import { defaultLivenessSettings as settings } from '../../../controller/liveness/settings.ts';
import { monoMs } from '../../../proto/base/clock.ts';

/** A node under judgement: time passes in ticks, and probes are sent as the record asks for them. */
class Scene {
  nowMs = 1_000;
  record: NodeRecord = newRecord(monoMs(this.nowMs));
  /** What the host does with a probe. */
  onProbe: 'nothing' | 'refuse' | 'answer' = 'nothing';
  heartbeats = false;
  restarting = false;
  stalledMs = 0;
  probeable = true;
  /** Whether peers that are asked have an answer from it. */
  peersHear = false;
  answersPings = false;
  #nextPingMs = 0;
  #nextProbeMs = 0;
  #nextBeatMs = 0;

  input(input: JudgeInput): void {
    this.record = judge(this.record, input, settings);
  }
  heard(): void {
    const { restarting, stalledMs } = this;
    this.input({ kind: 'heard', atMs: monoMs(this.nowMs), restarting, stalledMs, stalledPart: 'disk' });
  }
  pass(ms: number): this {
    for (const end = this.nowMs + ms; this.nowMs < end; this.nowMs += 5) this.#step();
    return this;
  }
  /** Milliseconds until the state is entered; fails after a minute. */
  until(state: NodeRecord['state']): number {
    const start = this.nowMs;
    while (this.record.state !== state && this.nowMs < start + 60_000) this.pass(5);
    expect(this.record.state).toBe(state);
    return this.nowMs - start;
  }
  #step(): void {
    const atMs = monoMs(this.nowMs);
    if (this.heartbeats && this.nowMs >= this.#nextBeatMs) {
      this.heard();
      this.#nextBeatMs = this.nowMs + settings.heartbeatIntervalMs;
    }
    const every = probeEveryMs(this.record, settings);
    if (every !== undefined && this.probeable && this.nowMs >= this.#nextProbeMs) {
      this.#nextProbeMs = this.nowMs + every;
      this.input({ kind: 'probe-sent', atMs });
      if (this.onProbe === 'refuse') this.input({ kind: 'refused', atMs });
      if (this.onProbe === 'answer') this.heard();
      if (this.peersHear) this.input({ kind: 'peer-heard', atMs });
    }
    const pingMs = pingEveryMs(this.record, atMs, settings);
    if (pingMs !== undefined && this.nowMs >= this.#nextPingMs) {
      this.#nextPingMs = this.nowMs + pingMs;
      if (this.answersPings) this.input({ kind: 'stream-heard', atMs });
    }
    if (this.nowMs % settings.tickMs === 0) this.input({ kind: 'tick', atMs, probeable: this.probeable });
  }
}

const living = (): Scene => {
  const scene = new Scene();
  scene.heartbeats = true;
  scene.pass(1_000);
  scene.heartbeats = false;
  return scene;
};

describe('judge', () => {
  it('keeps a node ready while it is heard, and says since when', () => {
    const scene = living();
    expect(scene.record).toMatchObject({ state: 'ready', sinceMs: 1_000 });
    expect(probeEveryMs(scene.record, settings)).toBeUndefined();
  });

  it('loses a silent node in less than a second, after suspecting it and five probes', () => {
    const scene = living();
    const suspectMs = scene.until('suspect');
    expect(probeEveryMs(scene.record, settings)).toBe(settings.probeIntervalMs);
    const downMs = suspectMs + scene.until('down');
    expect(suspectMs).toBeGreaterThan(settings.suspectAfterMs - settings.heartbeatIntervalMs);
    expect(downMs).toBeLessThan(900);
    expect(scene.record.reason).toMatch(/not heard for \d+ ms, [5-9] probes unanswered/);
    expect(probeEveryMs(scene.record, settings)).toBeUndefined();
  });

  it('never loses one before five probes have been sent', () => {
    const scene = living();
    scene.until('suspect');
    for (let n = 0; n < 100; n += 1) scene.input({ kind: 'tick', atMs: monoMs((scene.nowMs += 50)), probeable: true });
    expect(scene.record.state).toBe('suspect');
  });

  it('gives a host that refuses its grace, then loses it', () => {
    const scene = living();
    scene.onProbe = 'refuse';
    expect(scene.until('unreachable')).toBeLessThan(700);
    expect(scene.record.reason).toBe('its host answers, its agent does not');
    const graceMs = scene.until('down');
    expect(graceMs).toBeGreaterThanOrEqual(settings.agentGraceMs - 50);
    expect(graceMs).toBeLessThanOrEqual(settings.agentGraceMs + 50);
  });

  it('does not wait for the grace when a host that refused dies', () => {
    const scene = living();
    scene.onProbe = 'refuse';
    scene.until('unreachable');
    scene.pass(2_000);
    scene.onProbe = 'nothing';
    expect(scene.until('down')).toBeLessThan(2_000);
    expect(scene.record.reason).toMatch(/fell silent/);
  });

  it('gives an agent that said it restarts the same grace, refused or not', () => {
    for (const onProbe of ['nothing', 'refuse'] as const) {
      const scene = living();
      scene.restarting = true;
      scene.heard();
      expect(scene.record.state).toBe('ready');
      scene.onProbe = onProbe;
      scene.until('unreachable');
      expect(scene.record.reason).toBe('its agent restarts');
      expect(scene.until('down')).toBeGreaterThan(settings.agentGraceMs - 50);
    }
  });

  it('takes a node back from every state when it is heard, and from suspicion when it answers a probe', () => {
    const suspected = living();
    suspected.onProbe = 'answer';
    suspected.until('suspect');
    expect(suspected.until('ready')).toBeLessThan(100);
    expect(suspected.record.reason).toBeUndefined();
    for (const state of ['suspect', 'unreachable', 'down'] as const) {
      const scene = living();
      if (state === 'unreachable') scene.onProbe = 'refuse';
      scene.until(state);
      scene.heard();
      expect(scene.record).toMatchObject({ state: 'ready', sinceMs: scene.nowMs });
    }
  });

  it('does not take back a lost node because its host refuses', () => {
    const scene = living();
    scene.until('down');
    scene.input({ kind: 'refused', atMs: monoMs(scene.nowMs) });
    expect(scene.pass(1_000).record.state).toBe('down');
  });

  it('says nothing of a node it never heard, and measures it from when it began to lead', () => {
    const scene = new Scene();
    expect(scene.pass(settings.firstContactMs - 50).record.state).toBeUndefined();
    expect(scene.until('down')).toBeLessThan(400);
    expect(scene.record.reason).toMatch(/never heard/);
    const refusing = new Scene();
    refusing.onProbe = 'refuse';
    refusing.until('unreachable');
    expect(refusing.until('down')).toBeGreaterThan(settings.agentGraceMs - 50);
  });

  it('judges without probes where there is nothing to probe', () => {
    const scene = living();
    scene.probeable = false;
    scene.until('down');
    expect(scene.record.reason).toMatch(/^not heard for \d+ ms$/);
  });

  it('gives no new tasks to an agent that hangs, loses nothing of it, and takes it back', () => {
    const scene = living();
    scene.heartbeats = true;
    scene.stalledMs = settings.hangAfterMs;
    scene.pass(20_000);
    expect(scene.record).toMatchObject({
      state: 'ready',
      notAccepting: 'its disk has not answered for more than 5 s',
    });
    expect(scene.record.suspicion).toBeUndefined();
    scene.stalledMs = 0;
    expect(scene.pass(250).record.notAccepting).toBeUndefined();
    scene.stalledMs = settings.hangAfterMs;
    scene.pass(500);
    scene.heartbeats = false;
    expect(scene.until('down')).toBeLessThan(900);
  });

  it('keeps what only its peers hear for its grace, and loses it as ever when nobody does', () => {
    const scene = living();
    scene.peersHear = true;
    const ms = scene.until('unreachable');
    expect(ms).toBeLessThan(900);
    expect(scene.record.reason).toBe('its peers hear it, this controller does not');
    const graceMs = scene.until('down');
    expect(graceMs).toBeGreaterThan(settings.unreachableGraceMs - 50);
    expect(graceMs).toBeLessThan(settings.unreachableGraceMs + 50);
    expect(scene.record.reason).toMatch(/only its peers/);

    const dies = living();
    dies.peersHear = true;
    dies.until('unreachable');
    dies.pass(3_000);
    dies.peersHear = false;
    expect(dies.until('down')).toBeLessThan(2_000);
    expect(dies.record.reason).toMatch(/its peers heard it, then it fell silent/);
  });

  it('does not call lost what answers over its session, and loses it when that falls silent too', () => {
    const scene = living();
    scene.answersPings = true;
    scene.until('suspect');
    expect(scene.pass(100).record).toMatchObject({ state: 'ready', overStream: true });
    scene.pass(60_000);
    expect(scene.record).toMatchObject({ state: 'ready', overStream: true });
    scene.answersPings = false;
    const ms = scene.until('down');
    expect(ms).toBeGreaterThan(settings.streamSilenceMs - settings.pingIntervalMs);
    expect(ms).toBeLessThan(settings.streamSilenceMs + settings.confirmWithinMs + 100);
    // Lost as it is, it may still come back that way; its datagrams count for more as soon as they arrive.
    scene.answersPings = true;
    scene.until('ready');
    scene.heard();
    expect(scene.record).toMatchObject({ state: 'ready', overStream: false });
    expect(pingEveryMs(scene.record, monoMs(scene.nowMs), settings)).toBeUndefined();
  });

  it('takes an answer over the session for no newer than its question', () => {
    const scene = living();
    scene.until('down');
    const lastSeenMs = scene.record.lastSeenMs;
    scene.input({ kind: 'stream-heard', atMs: monoMs(lastSeenMs - 1) });
    expect(scene.record.state).toBe('down');
  });

  it('counts its own stall against no node', () => {
    const scene = living();
    scene.nowMs += 5_000;
    scene.input({ kind: 'own-stall', atMs: monoMs(scene.nowMs), durationMs: 5_000 });
    expect(scene.pass(300).record.state).toBe('ready');
    const suspected = living();
    suspected.until('suspect');
    suspected.pass(100);
    suspected.nowMs += 2_000;
    suspected.input({ kind: 'own-stall', atMs: monoMs(suspected.nowMs), durationMs: 2_000 });
    suspected.input({ kind: 'tick', atMs: monoMs(suspected.nowMs + 60), probeable: true });
    expect(suspected.record.state).toBe('suspect');
    suspected.until('down');
  });

  it('never loses a node that is heard often enough, whatever else happens', () => {
    const event = fc.constantFrom('refused', 'probe-sent', 'tick', 'own-stall', 'nothing');
    fc.assert(
      fc.property(fc.array(fc.tuple(event, fc.integer({ min: 1, max: 59 })), { maxLength: 400 }), (events) => {
        const scene = living();
        scene.heard();
        let lastHeardMs = scene.nowMs;
        for (const [kind, ms] of events) {
          scene.nowMs += ms;
          const atMs = monoMs(scene.nowMs);
          if (kind === 'refused' || kind === 'probe-sent') scene.input({ kind, atMs });
          else if (kind === 'tick') scene.input({ kind, atMs, probeable: true });
          else if (kind === 'own-stall') scene.input({ kind, atMs, durationMs: ms });
          if (scene.nowMs - lastHeardMs > settings.suspectAfterMs - 60) {
            scene.heard();
            lastHeardMs = scene.nowMs;
          }
          expect(scene.record.state).toBe('ready');
        }
      }),
      { numRuns: 200 },
    );
  });
});
