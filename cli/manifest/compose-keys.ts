/**
 * Every key of the Compose Specification's schema (`schema/compose-spec.json`), so that a key which exists but is not
 * supported yet is told apart from a misspelt one. The hint says what to write instead.
 */

export interface KeyScope {
  /** Keys that the loader reads. */
  readonly supported: readonly string[];
  /** Keys of the specification that this version refuses, each with a hint or an empty string. */
  readonly refused: Readonly<Record<string, string>>;
}

const without = (keys: string): Record<string, string> => Object.fromEntries(keys.split(' ').map((key) => [key, '']));

export const topLevelKeys: KeyScope = {
  supported: ['name', 'services', 'version'],
  refused: without('configs include models networks secrets volumes'),
};

export const serviceKeys: KeyScope = {
  supported: [
    'command',
    'deploy',
    'entrypoint',
    'environment',
    'image',
    'labels',
    'ports',
    'restart',
    'stop_grace_period',
    'user',
    'working_dir',
  ],
  refused: {
    ...without(
      'annotations attach blkio_config cap_add cap_drop cgroup cgroup_parent configs cpu_count cpu_percent cpu_period ' +
        'cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpuset credential_spec depends_on develop ' +
        'device_cgroup_rules devices dns dns_opt dns_search domainname extends external_links extra_hosts gpus ' +
        'group_add healthcheck hostname init ipc isolation label_file links logging mac_address mem_swappiness ' +
        'memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid platform post_start pre_start ' +
        'pre_stop privileged profiles provider pull_policy pull_refresh_after read_only runtime secrets security_opt ' +
        'shm_size stdin_open stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket userns_mode uts volumes ' +
        'volumes_from',
    ),
    build: 'build the image, push it to a registry the nodes reach, and name it with "image"',
    container_name: 'a service may have many containers; each is named stack/service.slot',
    cpus: 'write deploy.resources.limits.cpus',
    env_file: 'write its variables under "environment"',
    expose: 'the containers of a cluster reach each other on every port; leave it out',
    mem_limit: 'write deploy.resources.limits.memory',
    mem_reservation: 'write deploy.resources.reservations.memory',
    pids_limit: 'write deploy.resources.limits.pids',
    scale: 'write deploy.replicas',
  },
};

export const deployKeys: KeyScope = {
  supported: ['mode', 'replicas', 'resources'],
  refused: {
    ...without('endpoint_mode labels placement rollback_config update_config'),
    restart_policy: 'write "restart" in the service',
  },
};

export const resourcesKeys: KeyScope = { supported: ['limits', 'reservations'], refused: {} };
export const limitsKeys: KeyScope = { supported: ['cpus', 'memory', 'pids'], refused: {} };
export const reservationsKeys: KeyScope = {
  supported: ['cpus', 'memory'],
  refused: without('devices generic_resources'),
};

export const portKeys: KeyScope = {
  supported: ['mode', 'protocol', 'published', 'target'],
  refused: {
    app_protocol: 'leave it out',
    host_ip: 'every node publishes on all of its addresses; leave it out',
    name: 'leave it out',
  },
};

/** Everything a scope knows, for "did you mean". */
export const knownKeys = (scope: KeyScope): readonly string[] => [...scope.supported, ...Object.keys(scope.refused)];
