/**
 * The health check of the image: exit code 0 while the process of this container is alive. One image runs
 * every process, and the command of the container's first process says which one it is; one that serves
 * no health is alive as long as it runs.
 */
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import { healthAddressOf } from './health-address';

const address = healthAddressOf(readFileSync('/proc/1/cmdline', 'utf8'), process.env);
if (address !== undefined) {
  get(address, { timeout: 2_000 }, ({ statusCode }) => process.exit(statusCode === 200 ? 0 : 1))
    .on('error', () => process.exit(1))
    .on('timeout', () => process.exit(1));
}
