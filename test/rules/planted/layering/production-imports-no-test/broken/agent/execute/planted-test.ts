import { node } from '../../test/builders/node.ts';

export const planted = node;
