/** Where the processes of `npm start` serve what watches over them: their readiness and their metrics. */
import type { Config } from '../platform/process/config';
import { PortInUseError } from './errors';
import { findDistinctFreePorts, tryToBind } from './ports';
import { processNames, type ProcessName } from './processes';

/** Where a process listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Where each process listens: the API with all of its routes, the others for nothing else. */
export type Addresses = Readonly<Record<ProcessName, Address>>;

/** The first port unless METRICS_PORT is set; worker:commerce, worker:collector and bridge follow. */
const defaultFirstMetricsPort = 9464;

/**
 * Chooses where each process listens. Ports that are set must be free; the default ones of the metrics
 * give way to others that are.
 *
 * @throws PortInUseError that names API_PORT or METRICS_PORT, when a port that was set is not free
 */
export async function chooseAddresses(config: Config): Promise<Addresses> {
  const { API_HOST, METRICS_HOST, METRICS_PORT } = config;
  const others = processNames.filter((name) => name !== 'api');
  const apiPort = await chooseApiPort(config);
  const metricsPorts = await chooseMetricsPorts(others, METRICS_HOST, METRICS_PORT);
  const addresses = others.map((name, index) => [
    name,
    { host: METRICS_HOST, port: metricsPorts[index]! },
  ]);
  return { api: { host: API_HOST, port: apiPort }, ...Object.fromEntries(addresses) } as Addresses;
}

/** How to reach who listens there, from this machine. */
export function urlOf({ host, port }: Address): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

async function chooseApiPort({ API_HOST, API_PORT }: Config): Promise<number> {
  if (API_PORT === 0) return (await findDistinctFreePorts(1))[0]!;
  const problem = await tryToBind(API_PORT, API_HOST);
  if (problem !== undefined) throw new PortInUseError('the API', API_PORT, 'API_PORT', problem);
  return API_PORT;
}

/** @param first the first port, as METRICS_PORT sets it: the processes take those from it on; 0 for any */
async function chooseMetricsPorts(
  names: readonly ProcessName[],
  host: string,
  first: number | undefined,
): Promise<number[]> {
  const wanted = names.map((_, index) => (first ?? defaultFirstMetricsPort) + index);
  const problems =
    first === 0 ? [] : await Promise.all(wanted.map((port) => tryToBind(port, host)));
  const taken = problems.findIndex((problem) => problem !== undefined);
  if (taken >= 0 && first !== undefined) {
    const what = `${names[taken]}'s metrics`;
    throw new PortInUseError(what, wanted[taken]!, 'METRICS_PORT', problems[taken]);
  }
  const any = first === 0 || taken >= 0;
  return any ? findDistinctFreePorts(names.length) : wanted;
}
