/** Registry credentials as bytes: from people, in the store, to nodes that pull. */
import type { RegistryCredential, RegistryRecord, RegistryView } from '../domain/registry.ts';
import * as w from './wire.ts';
import type { Codec, Received, Sent } from './wire.ts';

export interface RegistryLoginRequest extends RegistryCredential {
  /** Whether the registry is asked first if it takes them. */
  readonly check: boolean;
}
/** `host` as it is known from now on. */
export interface RegistryLoginReply {
  readonly host: string;
}
export interface RegistryLogoutRequest {
  readonly host: string;
}
export interface ListRegistriesReply {
  readonly registries: readonly RegistryView[];
}
export interface GetRegistryCredentialRequest {
  readonly registry: string;
}
/** Absent: the cluster has none, pull anonymously. */
export interface GetRegistryCredentialReply {
  readonly credential?: Omit<RegistryCredential, 'host'>;
}

export const registryRecordToWire = (value: RegistryRecord): Sent<'RegistryRecord'> => ({
  host: value.host,
  username: value.username,
  sealedPassword: value.sealedPassword,
  writtenAtMs: w.long(value.writtenAtMs, 'RegistryRecord.written_at_ms'),
});

export const registryRecordFromWire = (wire: Received<'RegistryRecord'>): RegistryRecord => ({
  host: w.name(wire.host, 'RegistryRecord.host'),
  username: wire.username,
  sealedPassword: w.ownBytes(wire.sealedPassword),
  writtenAtMs: w.fromLong(wire.writtenAtMs, 'RegistryRecord.written_at_ms'),
});

export const registryLoginRequest: Codec<RegistryLoginRequest> = w.messageCodec(
  'RegistryLoginRequest',
  ({ host, username, password, check }) => ({ host, username, password, check }),
  ({ host, username, password, check }) => ({ host, username, password, check }),
);

export const registryLoginReply: Codec<RegistryLoginReply> = w.messageCodec(
  'RegistryLoginReply',
  ({ host }) => ({ host }),
  ({ host }) => ({ host }),
);

export const registryLogoutRequest: Codec<RegistryLogoutRequest> = w.messageCodec(
  'RegistryLogoutRequest',
  ({ host }) => ({ host }),
  ({ host }) => ({ host }),
);

export const registryLogoutReply: Codec<RegistryLoginReply> = w.messageCodec(
  'RegistryLogoutReply',
  ({ host }) => ({ host }),
  ({ host }) => ({ host }),
);

export const listRegistriesRequest: Codec<Readonly<Record<string, never>>> = w.messageCodec(
  'ListRegistriesRequest',
  () => ({}),
  () => ({}),
);

export const listRegistriesReply: Codec<ListRegistriesReply> = w.messageCodec(
  'ListRegistriesReply',
  ({ registries }) => ({ registries: registries.map(({ host, username }) => ({ host, username })) }),
  ({ registries }) => ({ registries: registries.map(({ host, username }) => ({ host, username })) }),
);

export const getRegistryCredentialRequest: Codec<GetRegistryCredentialRequest> = w.messageCodec(
  'GetRegistryCredentialRequest',
  ({ registry }) => ({ registry }),
  ({ registry }) => ({ registry }),
);

export const getRegistryCredentialReply: Codec<GetRegistryCredentialReply> = w.messageCodec(
  'GetRegistryCredentialReply',
  ({ credential }) => ({ username: credential?.username ?? null, password: credential?.password ?? null }),
  ({ username, password }) => (username === null || password === null ? {} : { credential: { username, password } }),
);
