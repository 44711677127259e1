/** Configs and secrets as bytes: in an apply, in the store, on their way to a node. */
import type { Content, ContentRecord, FetchedContent } from '../domain/content.ts';
import { contentKindEnum } from './enums.ts';
import * as w from './wire.ts';
import type { Received, Sent } from './wire.ts';

export const contentToWire = ({ kind, name, bytes }: Content): Sent<'Content'> => ({
  kind: contentKindEnum.toWire(kind),
  name,
  value: bytes,
});

export const contentFromWire = (wire: Received<'Content'>): Content => ({
  kind: contentKindEnum.fromWire(wire.kind, 'Content.kind'),
  name: wire.name,
  bytes: w.ownBytes(wire.value),
});

export const contentRecordToWire = ({ id, kind, writtenAtMs, value }: ContentRecord): Sent<'ContentRecord'> => ({
  id,
  kind: contentKindEnum.toWire(kind),
  writtenAtMs: w.long(writtenAtMs, 'ContentRecord.written_at_ms'),
  value,
});

export const contentRecordFromWire = (wire: Received<'ContentRecord'>): ContentRecord => ({
  id: w.name(wire.id, 'ContentRecord.id'),
  kind: contentKindEnum.fromWire(wire.kind, 'ContentRecord.kind'),
  writtenAtMs: w.fromLong(wire.writtenAtMs, 'ContentRecord.written_at_ms'),
  value: w.ownBytes(wire.value),
});

export const fetchedContentToWire = ({ id, bytes }: FetchedContent): Sent<'FetchedContent'> => ({
  id,
  value: bytes,
});

export const fetchedContentFromWire = (wire: Received<'FetchedContent'>): FetchedContent => ({
  id: w.name(wire.id, 'FetchedContent.id'),
  bytes: w.ownBytes(wire.value),
});
