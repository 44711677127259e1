/** What the cluster may log in to image registries with. */

export interface RegistryCredential {
  /** `host` or `host:port`, as image references begin; `docker.io` for Docker Hub. */
  readonly host: string;
  readonly username: string;
  /** A password or an access token. Never in a log, an event, an error or a list. */
  readonly password: string;
}

/** Stored record. Writer: `controller/api`; read when tags are resolved, and for nodes that pull from the registry. */
export interface RegistryRecord {
  readonly host: string;
  readonly username: string;
  readonly sealedPassword: Uint8Array;
  readonly writtenAtMs: number;
}

/** A row for people. */
export interface RegistryView {
  readonly host: string;
  readonly username: string;
}

export const maxRegistryUsernameLength = 255;
/** Access tokens of clouds are a few KiB. */
export const maxRegistryPasswordLength = 16 * 1024;
