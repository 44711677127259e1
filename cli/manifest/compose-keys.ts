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
  supported: ['configs', 'name', 'networks', 'secrets', 'services', 'version', 'volumes'],
  refused: without('include models'),
};

export const serviceKeys: KeyScope = {
  supported: [
    'command',
    'configs',
    'container_name',
    'cpus',
    'depends_on',
    'deploy',
    'entrypoint',
    'environment',
    'expose',
    'healthcheck',
    'image',
    'labels',
    'mem_limit',
    'mem_reservation',
    'networks',
    'pids_limit',
    'ports',
    'pull_policy',
    'restart',
    'scale',
    'secrets',
    'stop_grace_period',
    'stop_signal',
    'tmpfs',
    'user',
    'volumes',
    'working_dir',
  ],
  refused: {
    ...without(
      'annotations attach blkio_config cap_add cap_drop cgroup cgroup_parent cpu_count cpu_percent cpu_period ' +
        'cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpuset credential_spec develop ' +
        'device_cgroup_rules devices dns dns_opt dns_search domainname extends external_links extra_hosts gpus ' +
        'group_add hostname init ipc isolation label_file links logging mac_address mem_swappiness ' +
        'memswap_limit models network_mode oom_kill_disable oom_score_adj pid platform post_start pre_start ' +
        'pre_stop privileged profiles provider pull_refresh_after read_only runtime security_opt ' +
        'shm_size stdin_open storage_opt sysctls tty ulimits use_api_socket userns_mode uts ' +
        'volumes_from',
    ),
    build: 'build the image, push it to a registry the nodes reach, and name it with "image"',
    env_file: 'write its variables under "environment"',
  },
};

export const deployKeys: KeyScope = {
  supported: [
    'endpoint_mode',
    'labels',
    'mode',
    'placement',
    'replicas',
    'resources',
    'restart_policy',
    'rollback_config',
    'update_config',
  ],
  refused: {},
};

export const updateKeys: KeyScope = {
  supported: ['delay', 'failure_action', 'max_failure_ratio', 'monitor', 'order', 'parallelism'],
  refused: {},
};
export const restartPolicyKeys: KeyScope = { supported: ['condition', 'delay', 'max_attempts', 'window'], refused: {} };
export const placementKeys: KeyScope = {
  supported: ['constraints', 'max_replicas_per_node', 'preferences'],
  refused: {},
};
export const preferenceKeys: KeyScope = { supported: ['spread'], refused: {} };

export const healthCheckKeys: KeyScope = {
  supported: ['disable', 'interval', 'retries', 'start_interval', 'start_period', 'test', 'timeout'],
  refused: {},
};
export const dependencyKeys: KeyScope = { supported: ['condition', 'required', 'restart'], refused: {} };

export const networkKeys: KeyScope = {
  supported: ['attachable', 'driver', 'driver_opts', 'enable_ipv4', 'external', 'internal', 'ipam', 'labels', 'name'],
  refused: without('enable_ipv6'),
};
export const serviceNetworkKeys: KeyScope = {
  supported: ['aliases', 'priority'],
  refused: {
    ...without('driver_opts gw_priority interface_name ipv6_address link_local_ips mac_address'),
    ipv4_address: 'the cluster chooses addresses; use the name of the service',
  },
};
export const volumeKeys: KeyScope = {
  supported: ['driver', 'external', 'labels', 'name'],
  refused: without('driver_opts'),
};
export const mountKeys: KeyScope = {
  supported: ['bind', 'consistency', 'read_only', 'source', 'target', 'tmpfs', 'type', 'volume'],
  refused: without('image'),
};
export const volumeMountKeys: KeyScope = { supported: ['nocopy', 'subpath'], refused: without('labels') };
export const bindKeys: KeyScope = {
  supported: ['create_host_path'],
  refused: { ...without('propagation recursive'), selinux: 'leave it out' },
};
export const tmpfsKeys: KeyScope = { supported: ['mode', 'size'], refused: {} };
export const contentKeys: KeyScope = {
  supported: ['content', 'environment', 'external', 'file'],
  refused: {
    ...without('driver driver_opts labels template_driver'),
    name: 'leave it out: it is known by its key within the stack',
  },
};
export const fileMountKeys: KeyScope = { supported: ['gid', 'mode', 'source', 'target', 'uid'], refused: {} };
export const frotaKeys: KeyScope = { supported: ['drainDelay', 'failover', 'lease'], refused: {} };

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
