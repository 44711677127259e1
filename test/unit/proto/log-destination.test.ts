import { describe, expect, it } from 'vitest';
import { createLogDestination } from '../../../proto/base/log-destination.ts';

/** A file with room for so many bytes. */
function fileOf(room: number) {
  const file = { text: '', room };
  const writeSome = (bytes: Uint8Array): number => {
    if (file.room === 0) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
    const taken = bytes.subarray(0, file.room);
    file.room -= taken.length;
    file.text += Buffer.from(taken).toString('utf8');
    return taken.length;
  };
  return { file, destination: createLogDestination(writeSome) };
}

describe('a log destination', () => {
  it('writes lines as they are', () => {
    const { file, destination } = fileOf(Infinity);
    destination.write('{"msg":"um"}\n');
    destination.write('{"msg":"dois"}\n');
    expect(file.text).toBe('{"msg":"um"}\n{"msg":"dois"}\n');
  });

  it('loses lines on a full disk, throws nothing, and says how many once there is room', () => {
    const { file, destination } = fileOf(20);
    for (const line of ['one two three\n', 'torn here\n', 'lost\n', 'lost too\n']) destination.write(line);
    expect(file.text).toBe('one two three\ntorn h');
    file.room = Infinity;
    destination.write('again\n');
    const lost = '{"level":40,"msg":"lines of this log that could not be written are lost: 3"}';
    expect(file.text).toBe(`one two three\ntorn h\n${lost}\nagain\n`);
    destination.write('and on\n');
    expect(file.text.endsWith('again\nand on\n')).toBe(true);
  });

  it('does not count twice what it could not say', () => {
    const { file, destination } = fileOf(0);
    destination.write('a\n');
    file.room = 10;
    destination.write('b\n');
    file.room = Infinity;
    destination.write('c\n');
    expect(file.text.split('\n')).toEqual([
      '{"level":4',
      '{"level":40,"msg":"lines of this log that could not be written are lost: 2"}',
      'c',
      '',
    ]);
  });
});
