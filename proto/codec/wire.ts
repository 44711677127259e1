/**
 * What every converter is made of. The generated types call every field optional and message fields non-null; at run
 * time an absent message is null. `Sent` makes a forgotten field a compile error, `required` finds an absent one.
 */
import { FrotaError } from '../base/errors.ts';
import { frota } from '../gen/frota.js';

type Generated = typeof frota.v1;

interface MessageClass {
  encode(message: never): { finish(): Uint8Array };
  decode(bytes: Uint8Array): object;
}

/** Names of the messages in `frota/v1/*.proto`. */
export type MessageName = {
  [N in keyof Generated]: Generated[N] extends MessageClass ? N : never;
}[keyof Generated];

type Properties<N extends MessageName> = Parameters<Generated[N]['encode']>[0];

/** Field names that are no fields: kept unknown bytes, and the discriminators of `oneof`, which follow from the fields. */
type Virtual = '$unknowns' | 'message' | 'content';

type Complete<T> = T extends WireLong
  ? number
  : T extends string | number | boolean | Uint8Array
    ? T
    : T extends readonly (infer Item)[]
      ? Complete<Item>[]
      : string extends keyof T
        ? T
        : { [K in Exclude<keyof T, Virtual>]-?: Complete<NonNullable<T[K]>> | null };

/** A message to be sent, no field forgotten: null is absent, 64-bit integers are numbers, as the writer takes them. */
export type Sent<N extends MessageName> = Complete<Properties<N>>;

/** A message as decoded. Message fields may be null, whatever the type says: read them with `required`. */
export type Received<N extends MessageName> = InstanceType<Generated[N]>;

/** 64-bit integers as decoded: `long.js`. */
export type WireLong = frota.v1.Task['createdAtMs'];

/** Between values and bytes. `decode` throws FrotaError `corrupt`, `encode` FrotaError `invalid`. */
export interface Codec<T> {
  // Methods, not function properties, so that a list of codecs of all types can be a list of `Codec<unknown>`.
  encode(value: T): Uint8Array;
  decode(bytes: Uint8Array): T;
}

/** A codec whose two functions may also be taken from it and used alone. */
export interface MessageCodec<T> {
  readonly encode: (value: T) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => T;
}

export function messageCodec<T, N extends MessageName>(
  name: N,
  toWire: (value: T) => Sent<N>,
  fromWire: (wire: Received<N>) => T,
): MessageCodec<T> {
  // The map of classes is keyed by name, which TypeScript cannot follow through a generic index.
  const message = frota.v1[name] as unknown as {
    encode(message: Sent<N>): { finish(): Uint8Array };
    decode(bytes: Uint8Array): Received<N>;
  };
  return {
    encode: (value) => message.encode(toWire(value)).finish(),
    decode: (bytes) => {
      try {
        return fromWire(message.decode(bytes));
      } catch (thrown) {
        if (thrown instanceof FrotaError) throw thrown;
        throw new FrotaError('corrupt', `not a ${name} message of ${String(bytes.length)} bytes`, { cause: thrown });
      }
    },
  };
}

/** Every field named, optional ones with undefined for absent. */
export type Fields<T> = {
  [K in keyof Required<T>]: Pick<T, K> extends Required<Pick<T, K>> ? Required<T>[K] : Required<T>[K] | undefined;
};

/** A value without its undefined fields: under `exactOptionalPropertyTypes` absent is not undefined. */
export function fields<T extends object>(all: Fields<T>): T {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as T;
}

/** A message field that must be there. `where` is `Message.field`. */
export function required<T>(value: T | null | undefined, where: string): T {
  if (value === null || value === undefined) throw new FrotaError('corrupt', `${where} is missing`);
  return value;
}

/** A message field that may be absent. */
export function optional<Wire, Value>(wire: Wire | null, convert: (wire: Wire) => Value): Value | undefined {
  return wire === null ? undefined : convert(wire);
}

/** A string that names something and thus may not be empty, which on the wire is the same as absent. */
export function name(value: string, where: string): string {
  if (value === '') throw new FrotaError('corrupt', `${where} is missing`);
  return value;
}

/** Any integer that JavaScript holds exactly. @throws FrotaError `invalid`. */
export function long(value: number, where: string): number {
  if (Number.isSafeInteger(value)) return value;
  throw new FrotaError('invalid', `${where} is ${String(value)}, which is not a whole number that fits in 53 bits`);
}

export const optionalLong = (value: number | undefined, where: string): number | null =>
  value === undefined ? null : long(value, where);

/** @throws FrotaError `corrupt` where JavaScript could not hold the number exactly. */
export function fromLong(value: WireLong, where: string): number {
  const number = value.toNumber();
  if (!Number.isSafeInteger(number)) throw new FrotaError('corrupt', `${where} is ${value.toString()}, out of range`);
  return number;
}

export const fromOptionalLong = (value: WireLong | null, where: string): number | undefined =>
  value === null ? undefined : fromLong(value, where);

const maxUint32 = 2 ** 32 - 1;

/** protobufjs would silently wrap what does not fit. @throws FrotaError `invalid`. */
export function uint32(value: number, where: string): number {
  return inRange(value, 0, maxUint32, where);
}

export const optionalUint32 = (value: number | undefined, where: string): number | null =>
  value === undefined ? null : uint32(value, where);

export function int32(value: number, where: string): number {
  return inRange(value, -(2 ** 31), 2 ** 31 - 1, where);
}

function inRange(value: number, least: number, most: number, where: string): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  const range = `${String(least)} to ${String(most)}`;
  throw new FrotaError('invalid', `${where} is ${String(value)}, which is not a whole number from ${range}`);
}

/** Map entries go in key order, so that equal values have equal bytes and thus equal revisions. */
export function sortedMap(map: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A list that may be absent, which differs from an empty one. */
export const optionalList = (values: readonly string[] | undefined): { values: string[] } | null =>
  values === undefined ? null : { values: [...values] };

export const fromOptionalList = (list: Received<'StringList'> | null): readonly string[] | undefined =>
  list === null ? undefined : list.values;

/** Bytes of their own: decoded ones are a window on the whole message, which they would keep in memory. */
export const ownBytes = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes);
