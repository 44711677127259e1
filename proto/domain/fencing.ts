/**
 * Leases of fenced tasks: a slot declared `x-frota: {failover: fenced}` never runs twice at the same time. Its node may run it for as long as
 * a controller has answered for; the guard on the node kills it then, and no controller replaces it before that must have
 * happened. Both ends use these figures, each on a clock of its own that never steps.
 */

/** Long enough that a controller which is restarted, or busy, costs no task. */
export const defaultLeaseMs = 10_000;
/** Four renewals fit into it with the time that a new controller needs; a shorter one kills tasks whenever a machine is busy. */
export const minLeaseMs = 2_000;
/** A lost node's slot stays empty for at least this long: longer than that is not meant. */
export const maxLeaseMs = 300_000;
/** Three answers may be lost, or a controller be away for this much of a lease, before a task dies of it. */
const renewalsPerLease = 4;
/** Quartz, and clocks that are slewed by NTP (0.05 %), are far better; nothing promised holds on a clock that is worse. */
const driftShare = 0.01;
/** From the expiry to the last process's end: the guard looks ten times a second, and a busy machine lets it wait. */
const guardLatenessMs = 500;

export const renewalIntervalMs = (leaseMs: number): number => leaseMs / renewalsPerLease;

/** For which the controller waits beyond the lease: clocks that run apart, and a guard that comes late. */
export const leaseSlackMs = (leaseMs: number): number => Math.ceil(leaseMs * driftShare) + guardLatenessMs;

/** From the last answer (or the beginning of this controller's lead) to when nothing of the task can run any more. */
export const leaseEndsAfterMs = (leaseMs: number): number => leaseMs + leaseSlackMs(leaseMs);
