/** Two stacks with a network between them, as the name server sees them, and questions to it as bytes. */
import { decode, encode } from 'dns-packet';
import type { Answer, DecodedPacket, RecordType } from 'dns-packet';
import type { TaskPlace } from '../../../agent/network/network.ts';
import type { Endpoint, NetworkUnit, ServiceUnit } from '../../../proto/domain/assignment.ts';

export const network: NetworkUnit = {
  kind: 'network',
  containerPool: '10.64.0.0/12',
  vipPool: '10.96.0.0/16',
  peers: [],
  internal: ['vault'],
};

export const endpoint = (slot: number, address: string, taskId = `task${address.replaceAll('.', '')}`): Endpoint => ({
  taskId,
  nodeId: 'n',
  address,
  slot,
});

export function aService(over: Partial<ServiceUnit> & Pick<ServiceUnit, 'name'>): ServiceUnit {
  const networks = over.networks ?? [{ network: 'shop_default', aliases: [] }];
  return { kind: 'service', stack: 'shop', vip: '10.96.0.9', ports: [], endpoints: [], members: [], ...over, networks };
}

const web = [endpoint(1, '10.64.1.2'), endpoint(2, '10.64.2.2')];

export const services: readonly ServiceUnit[] = [
  aService({
    name: 'web',
    vip: '10.96.0.1',
    endpoints: web,
    members: [...web, endpoint(3, '10.64.3.2', 'Fresh1')],
    networks: [
      { network: 'shop_default', aliases: ['Shop.internal'] },
      { network: 'proxy', aliases: ['backend'] },
    ],
  }),
  aService({ name: 'db', vip: '10.96.0.2', members: [endpoint(1, '10.64.1.3')] }),
  aService({
    stack: 'blog',
    name: 'web',
    vip: '10.96.0.3',
    endpoints: [endpoint(1, '10.64.4.4')],
    members: [endpoint(1, '10.64.4.4')],
    networks: [
      { network: 'proxy', aliases: ['backend', 'db'] },
      { network: 'blog_default', aliases: ['private'] },
    ],
  }),
  aService({ stack: 'blog', name: 'mail.v2', vip: '10.96.0.4', networks: [{ network: 'vault', aliases: [] }] }),
];

export const inShop: TaskPlace = { stack: 'shop', networks: ['shop_default'] };
export const inShopAndProxy: TaskPlace = { stack: 'shop', networks: ['shop_default', 'proxy'] };
export const inProxy: TaskPlace = { stack: 'edge', networks: ['proxy'] };
export const inBlog: TaskPlace = { stack: 'blog', networks: ['blog_default', 'vault'] };
export const inVault: TaskPlace = { stack: 'blog', networks: ['vault'] };

export interface AskOptions {
  readonly type?: string;
  readonly id?: number;
  /** Payload size, by EDNS. */
  readonly offers?: number;
}

export function question(name: string, { type = 'A', id = 7, offers }: AskOptions = {}): Buffer {
  const options = { type: 'OPT', name: '.', udpPayloadSize: offers, flags: 0, options: [] } as unknown as Answer;
  return encode({
    type: 'query',
    id,
    flags: 1 << 8,
    questions: [{ type: type as RecordType, name, class: 'IN' }],
    additionals: offers === undefined ? [] : [options],
  });
}

export interface Read {
  readonly code: string;
  readonly truncated: boolean;
  readonly data: readonly string[];
  readonly message: DecodedPacket;
}

/** An answer, or undefined when there was none. */
export function read(response: Buffer | undefined): Read | undefined {
  if (response === undefined) return undefined;
  const message = decode(response) as DecodedPacket & { readonly rcode: string };
  const data = (message.answers ?? []).map((answer) => ('data' in answer ? (answer.data as string) : ''));
  return { code: message.rcode, truncated: message.flag_tc, data, message };
}
