import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import { describe, expect, test } from 'vitest';
import { LayerRewriter } from '../../../agent/images/layer-rewriter.ts';
import type { LayerReport } from '../../../agent/images/layer-rewriter.ts';
import { FrotaError } from '../../../proto/base/errors.ts';
import { tarOf } from '../../builders/oci-image.ts';
import type { LayerEntry } from '../../builders/oci-image.ts';

const limits = { maxUnpackedBytes: 10_000_000, maxEntries: 1_000 };

function rewrite(archive: Buffer, pieceSize = archive.length || 1): { out: Buffer; report: LayerReport } {
  const rewriter = new LayerRewriter(limits);
  const out: Buffer[] = [];
  for (let offset = 0; offset < archive.length; offset += pieceSize) {
    out.push(Buffer.from(rewriter.push(archive.subarray(offset, offset + pieceSize))));
  }
  out.push(rewriter.end());
  return { out: Buffer.concat(out), report: rewriter.report() };
}

interface Listed {
  readonly name: string;
  readonly type: string;
  readonly content: string;
  readonly pax: Readonly<Record<string, string>>;
  readonly mode: number;
}

/** What another reader of tar finds in it. */
async function list(archive: Buffer): Promise<readonly Listed[]> {
  const found: Listed[] = [];
  const reader = extract();
  reader.end(archive);
  for await (const entry of reader) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const { name, type, pax, mode } = entry.header;
    found.push({
      name,
      type,
      content: Buffer.concat(chunks).toString(),
      pax: (pax ?? {}) as Record<string, string>,
      mode,
    });
  }
  return found;
}

const file = (path: string, content = ''): LayerEntry => ({ type: 'file', path, content });
const directory = (path: string): LayerEntry => ({ type: 'directory', path, mode: 0o750, uid: 7, gid: 8 });
const whiteout = (path: string): LayerEntry => ({ type: 'whiteout', path });

const names = fc.stringMatching(/^[a-zé]{1,12}$/);
const contents = fc.string({ maxLength: 2_000 });

describe('what is no marker', () => {
  test('passes byte for byte, however the stream is cut', async () => {
    const entries = fc.uniqueArray(fc.tuple(names, contents), { selector: ([name]) => name, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(entries, fc.integer({ min: 1, max: 3_000 }), async (files, pieceSize) => {
        const archive = await tarOf(files.map(([name, content]) => file(name.repeat(20), content)));
        const { out, report } = rewrite(archive, pieceSize);
        expect(out.equals(archive)).toBe(true);
        expect(report).toEqual({ entries: files.length, impliedDirectories: [] });
      }),
      { numRuns: 50 },
    );
  });

  test('whatever follows the end mark is left out', async () => {
    const archive = await tarOf([file('a', 'x')]);
    expect(rewrite(Buffer.concat([archive, Buffer.alloc(10_000, 'junk')])).out.equals(archive)).toBe(true);
  });

  test('an archive without end mark gets one, and an empty one is a layer', async () => {
    const archive = await tarOf([file('a', 'x')]);
    expect(rewrite(archive.subarray(0, -1024)).out.equals(archive)).toBe(true);
    expect(rewrite(Buffer.alloc(0)).out.equals(Buffer.alloc(1024))).toBe(true);
  });

  test.each(['gnu', 'oldgnu', 'pax', 'ustar', 'v7'])('as GNU tar writes it: %s', (format) => {
    const args = ['-c', '-f', '-', `--format=${format}`, '-C', import.meta.dirname, '.'];
    const archive = execFileSync('tar', args, { maxBuffer: 10_000_000 });
    const { out } = rewrite(archive, 777);
    expect(out.length).toBeGreaterThan(10_000);
    // GNU tar fills its last record of 10 KiB with zeros.
    expect(out.equals(archive.subarray(0, out.length))).toBe(true);
    expect(archive.subarray(out.length).every((byte) => byte === 0)).toBe(true);
  });
});

describe('markers', () => {
  test('become devices and attributes, however the stream is cut', async () => {
    const long = `d/${'long-'.repeat(40)}ü`;
    const archive = await tarOf([
      directory('d'),
      whiteout('d/gone'),
      whiteout(long),
      { type: 'opaque', path: 'd' },
      file('d/new', 'n'),
    ]);
    const whole = rewrite(archive).out;
    for (const pieceSize of [1, 100, 512, 513]) expect(rewrite(archive, pieceSize).out.equals(whole)).toBe(true);
    const found = await list(whole);
    expect(found.map(({ name, type }) => `${type} ${name}`)).toEqual([
      'directory d',
      'file d/new',
      'character-device d/gone',
      `character-device ${long}`,
      'directory d',
    ]);
    expect(found.at(-1)).toMatchObject({
      mode: 0o750,
      pax: { uid: '7', gid: '8', 'SCHILY.xattr.trusted.overlay.opaque': 'y' },
    });
  });

  test('the content of a marker is left out, and AUFS files too', async () => {
    const archive = await tarOf([
      file('.wh.a', 'x'.repeat(700)),
      file('.wh..wh.plnk/1.2', 'x'),
      file('.wh..wh.aufs'),
      file('b', 'b'),
    ]);
    const found = await list(rewrite(archive).out);
    expect(found.map(({ name, type, content }) => [type, name, content])).toEqual([
      ['file', 'b', 'b'],
      ['character-device', 'a', ''],
    ]);
  });

  test('names are compared as paths', async () => {
    const archive = await tarOf([file('./d//a', 'new'), whiteout('d/a'), whiteout('/d/./b')]);
    const { out, report } = rewrite(archive);
    expect((await list(out)).map(({ name, type }) => `${type} ${name}`)).toEqual([
      'file ./d//a',
      'character-device d/b',
    ]);
    expect(report.impliedDirectories).toEqual(['d']);
  });

  test('implied directories: parents first, none that the layer describes sooner or later', async () => {
    const archive = await tarOf([file('a/b/c'), file('x/y'), directory('x'), whiteout('m/n')]);
    expect(rewrite(archive).report.impliedDirectories).toEqual(['a', 'a/b', 'm']);
  });
});

describe('what is refused', () => {
  const code = (archive: Buffer): string => {
    try {
      rewrite(archive);
      return 'accepted';
    } catch (error) {
      return error instanceof FrotaError ? error.code : String(error);
    }
  };

  test.each<[string, readonly LayerEntry[], string]>([
    ['a way up', [file('a/../b')], 'corrupt'],
    ['a whiteout of nothing', [file('d/.wh.')], 'corrupt'],
    ['a whiteout of the parent', [file('d/.wh...')], 'corrupt'],
    ['a whiteout of the directory', [file('d/.wh..')], 'corrupt'],
    ['an opaque root', [file('.wh..wh..opq')], 'unsupported'],
    ['an opaque root by another name', [file('./.wh..wh..opq')], 'unsupported'],
    ['too many entries', Array.from({ length: 1_001 }, (_none, index) => file(String(index))), 'exhausted'],
  ])('%s', async (_name, entries, expected) => {
    expect(code(await tarOf(entries))).toBe(expected);
  });

  test('a changed header, two extended headers, data where none can be, an unknown type', async () => {
    const archive = await tarOf([file('a')]);
    const changed = Buffer.from(archive);
    changed[0] = 0x62;
    expect(code(changed)).toBe('corrupt');
    const pax = (await tarOf([{ ...file('a'), xattrs: { 'user.x': 'y' } }])).subarray(0, 1024);
    expect(code(Buffer.concat([pax, pax, archive]))).toBe('corrupt');
    expect(code(pax)).toBe('corrupt');
    const sized = (await tarOf([file('a'.repeat(101))])).subarray(0, 1024);
    expect(code(Buffer.concat([sized, archive]))).toBe('accepted');
    const multiVolume = Buffer.from(archive);
    multiVolume[156] = 'M'.charCodeAt(0);
    multiVolume[154] = 0;
    const sum = [...multiVolume.subarray(0, 512)].reduce(
      (all, byte, at) => all + (at >= 148 && at < 156 ? 32 : byte),
      0,
    );
    multiVolume.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    expect(code(multiVolume)).toBe('unsupported');
  });

  test('nothing but FrotaErrors, whatever the bytes', async () => {
    const archive = await tarOf([directory('d'), file('d/a', 'content'), { ...file('x'), xattrs: { 'user.x': 'y' } }]);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { maxLength: 5 }),
        fc.nat(archive.length),
        (flips, end) => {
          const bytes = Buffer.from(archive.subarray(0, end));
          for (const [at, value] of flips) if (at < end) bytes[at] = value;
          expect(code(bytes)).toMatch(/^(accepted|corrupt|unsupported|exhausted)$/);
        },
      ),
      { numRuns: 300 },
    );
  });
});
