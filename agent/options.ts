/** The command line of `frota agent`. Every setting has a default that is right on a real machine. */
import { hostname } from 'node:os';
import { isIP } from 'node:net';
import { Command, InvalidArgumentError, Option } from 'commander';
import { parseOptionDurationMs } from '../proto/base/durations.ts';
import { imageFlags } from './image-options.ts';
import type { ImageOptions } from './image-options.ts';

export interface AgentOptions extends ImageOptions {
  /** `host:port` of the controller's join port; needed only until the node has joined. */
  readonly join?: string;
  readonly token?: string;
  readonly name: string;
  /** An IP address of this machine that controller and other nodes reach; absent: the one that leads to the controller. */
  readonly address?: string;
  readonly data: string;
  readonly run: string;
  readonly cgroupParent: string;
  readonly insecureRegistry: readonly string[];
  readonly livenessPort: number;
  /** Ms without a controller after which this node replaces ended tasks by itself; `Infinity`: never. */
  readonly localRestartAfter: number;
  readonly runtime?: 'runc' | 'crun';
  readonly logLevel: string;
}

/** UDP; the controller's own is 7402. */
const defaultLivenessPort = 7403;
const maxPort = 65_535;

const port = (text: string): number => {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value > maxPort)
    throw new InvalidArgumentError('give a port, 0 to 65535.');
  return value;
};

/**
 * A controller that is restarted is back within a second, and one that hangs for a moment too; whoever is away longer may be away for
 * hours. And a slot that is placed elsewhere meanwhile runs there by then, if there was anybody to place it.
 */
const defaultLocalRestartAfterMs = 5_000;

const durationOrNever = (text: string): number => {
  if (text === 'never') return Infinity;
  const ms = parseOptionDurationMs(text);
  if (ms === undefined) throw new InvalidArgumentError('give a duration such as 5s or 2m, or never.');
  return ms;
};

const address = (text: string): string => {
  if (isIP(text) === 0) throw new InvalidArgumentError('give an IP address of this machine.');
  return text;
};

const runtime = (text: string): string => {
  if (text !== 'runc' && text !== 'crun') throw new InvalidArgumentError('give runc or crun.');
  return text;
};

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

export function agentCommand(version: string, act: (options: AgentOptions) => Promise<void>): Command {
  const command = new Command('frota agent')
    .description('Runs this machine as a node: pulls images and runs the containers that the controller assigns.')
    .version(version)
    .option('--join <address>', 'join port of the controller, host:port; needed once')
    .option('--token <token>', 'join token, from `frota cluster token`; better in the environment as FROTA_TOKEN')
    .option('--name <name>', 'name of this node', hostname())
    .option(
      '--address <ip>',
      'address of this machine that the others reach (default: the one that leads to the controller)',
      address,
    )
    .option('--data <folder>', 'what must survive a reboot', '/var/lib/frota/agent')
    .option('--run <folder>', 'what is for this boot only', '/run/frota/agent')
    .option(
      '--cgroup-parent <path>',
      "the node's own cgroup; containers and their monitors go into PATH/containers and PATH/conmon",
      '/frota/node',
    )
    .option(
      '--insecure-registry <host|cidr>',
      'registry that may be asked over plain HTTP; may be repeated',
      collect,
      [],
    )
    .option('--liveness-port <port>', 'UDP port on which this node answers probes', port, defaultLivenessPort)
    .addOption(
      new Option(
        '--local-restart-after <duration>',
        'without a controller for this long, this node replaces ended tasks by itself; or never',
      )
        .default(defaultLocalRestartAfterMs, '5s')
        .argParser(durationOrNever),
    )
    .option('--runtime <name>', 'runc or crun (default: the better one that works here)', runtime)
    .option('--log-level <level>', 'debug, info, warn or error', 'info')
    .addHelpText(
      'after',
      `
Examples:
  frota agent --join 10.0.0.5:7401 --token frota-…        join a cluster and run
  FROTA_TOKEN=frota-… frota agent --join 10.0.0.5:7401    the same, and the token is not seen in the process list
  frota agent                                             run again: this node has joined before`,
    )
    .action((given: AgentOptions) => act(given));
  for (const flag of imageFlags()) command.addOption(flag);
  return command;
}
