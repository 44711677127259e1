/** The images of the cluster tests: busybox with a small web server that says who answers and asks its neighbour. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { busyboxImage } from '../builders/oci-image.ts';
import type { ImageConfigSource, LayerSource } from '../builders/oci-image.ts';
import { must } from './cluster.ts';

/** Pushes `test/busybox:1` to a registry that listens over plain HTTP. @returns the reference to write in a Compose file. */
export async function pushBusybox(
  registry: string,
  name = 'test/busybox:1',
  config: ImageConfigSource = {},
  extraLayers: readonly LayerSource[] = [],
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ft-image-'));
  try {
    await busyboxImage(folder, { config, extraLayers });
    await must('skopeo', [
      'copy',
      '--quiet',
      '--dest-tls-verify=false',
      `oci:${folder}`,
      `docker://${registry}/${name}`,
    ]);
    return `${registry}/${name}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A Compose file: `app/web`, the server below, on port 8080 of every node. `more` is a line of the service's own. */
export const webCompose = (image: string, replicas: number, more = ''): string => `
name: app
services:
  web:
    image: ${image}
    command: ["sh", "-c", ${JSON.stringify(serveCommand(8080))}]
    ports: ["8080:8080"]
    ${more}
    deploy: {replicas: ${String(replicas)}}
`;

/** A shell command for `sh -c`: an HTTP server on `port`; `/` says the container's host name, `/cgi-bin/peer` what `peer` says. */
export function serveCommand(port: number, peer?: string): string {
  const lines = [
    'mkdir -p /www/cgi-bin',
    'hostname > /www/index.html',
    ...(peer === undefined
      ? []
      : [
          // CRLF: HTTP parsers are strict, and busybox passes a CGI program's header on as it is.
          `printf '#!/bin/sh\\nprintf "Content-Type: text/plain\\\\r\\\\n\\\\r\\\\n"\\nwget -q -O - http://${peer}/\\n' > /www/cgi-bin/peer`,
          'chmod +x /www/cgi-bin/peer',
        ]),
    `exec httpd -f -p ${String(port)} -h /www`,
  ];
  return lines.join('; ');
}
