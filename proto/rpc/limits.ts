/**
 * Largest message either side takes, bytes. The largest is a list of tasks: about 400 bytes a row, so 8 MiB is 20,000
 * rows, twice what a cluster of this size runs. What is beyond fails with `exhausted` and never fills the memory.
 */
export const maxMessageBytes = 8 * 1024 * 1024;

/** Calls at a time on one connection. An agent has one session, a person a few calls; more is a mistake or an attack. */
export const maxStreamsPerConnection = 256;

/**
 * Both ends ask over an idle connection with open calls whether the other is there, and give it up after the time-out:
 * a cut is noticed within 6 s. Liveness is judged by datagrams, which is faster; this only frees what a dead peer holds.
 */
export const keepaliveIntervalMs = 4_000;
export const keepaliveTimeoutMs = 2_000;

/** First and longest pause between attempts to connect; grpc-js spreads them by chance, so agents do not come at once. */
export const firstReconnectMs = 200;
export const maxReconnectMs = 2_000;

/** How long `close` lets running unary calls finish before it cuts them. */
export const closeGraceMs = 2_000;

/** Longer texts of errors are cut: nobody reads them, and they travel in headers. */
export const maxErrorMessageLength = 4_096;
/** HTTP/2 trailers may have 64 KiB in Node; base64 adds a third, and there are other headers. */
export const maxErrorTrailerBytes = 24 * 1024;
/** `grpc-message` is for other people's tools; ours read the trailer. Percent-encoding may triple it. */
export const maxStatusDetailsLength = 1_024;

/** The name in every controller's certificate; callers expect it whatever address they use. */
export const controllerServerName = 'frota-controller';
