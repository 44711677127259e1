import { describe, expect, it } from 'vitest';
import { unmetConstraint } from '../../../controller/schedule/attributes.ts';
import { constraintText } from '../../../proto/domain/placement.ts';
import type { Constraint } from '../../../proto/domain/placement.ts';
import { aFacts, aNode } from '../../builders/domain.ts';

const node = aNode('n1', { labels: { zone: 'North', Zone: 'other' } });
const facts = aFacts(node.id, { os: 'linux', architecture: 'amd64' });

describe('constraints', () => {
  it.each<[string, Constraint['operator'], string, boolean]>([
    ['node.hostname', '==', 'n1', true],
    ['node.hostname', '==', 'N1', true],
    ['node.hostname', '!=', 'n1', false],
    ['node.hostname', '!=', 'n2', true],
    ['node.id', '==', 'id-n1', true],
    ['node.id', '==', 'id-n', false],
    ['node.platform.os', '==', 'linux', true],
    ['node.platform.arch', '==', 'amd64', true],
    ['node.platform.arch', '==', 'x86_64', true],
    ['node.platform.arch', '!=', 'X86_64', false],
    ['node.platform.arch', '==', 'aarch64', false],
    ['node.labels.zone', '==', 'north', true],
    ['node.labels.Zone', '==', 'north', false],
    ['NODE.Labels.zone', '==', 'north', true],
    ['node.labels.none', '==', 'x', false],
    ['node.labels.none', '!=', 'x', true],
    ['node.labels.none', '==', '', true],
    ['node.role', '==', 'worker', false],
    ['node.role', '!=', 'worker', false],
  ])('%s %s %s: %s', (attribute, operator, value, met) => {
    const constraint = { attribute, operator, value };
    expect(unmetConstraint([constraint], node, facts)).toBe(met ? undefined : constraint);
  });

  it('must all hold; the first that does not is told', () => {
    const zone: Constraint = { attribute: 'node.labels.zone', operator: '==', value: 'north' };
    const other: Constraint = { attribute: 'node.hostname', operator: '!=', value: 'n1' };
    expect(unmetConstraint([zone, other], node, facts)).toBe(other);
    expect(constraintText(zone)).toBe('node.labels.zone == north');
  });

  it('on the platform do not hold for a node that has not told its own', () => {
    expect(
      unmetConstraint([{ attribute: 'node.platform.os', operator: '==', value: 'linux' }], node, undefined),
    ).toBeDefined();
  });
});
