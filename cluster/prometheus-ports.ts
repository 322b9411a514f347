/** The metrics ports of the processes of `npm start`. */
import { PortInUseError } from './errors';
import { findDistinctFreePorts, tryToBind } from './ports';
import { PROCESS_NAMES, type ProcessName } from './processes';

/** The port of each process that serves its metrics on a port of its own. */
export type MetricsPorts = Readonly<Partial<Record<ProcessName, number>>>;

export interface MetricsPortsOptions {
  /** Address that the metrics are served on. */
  readonly host: string;
  /**
   * The first port, from METRICS_PORT: the processes take consecutive ports; 0 for any free ones.
   */
  readonly first: number | undefined;
}

/** The first port unless METRICS_PORT is set; worker:commerce, worker:collector and bridge follow. */
const DEFAULT_FIRST_METRICS_PORT = 9464;

/**
 * Chooses a port for each process but the API. Configured ports must be free; default ports are
 * replaced by free ones when taken.
 *
 * @throws PortInUseError that names METRICS_PORT, when a configured port is taken
 */
export async function chooseMetricsPorts({
  host,
  first,
}: MetricsPortsOptions): Promise<MetricsPorts> {
  const names = PROCESS_NAMES.filter((name) => name !== 'api');
  const wanted = names.map((_, index) => (first ?? DEFAULT_FIRST_METRICS_PORT) + index);
  const problems =
    first === 0 ? [] : await Promise.all(wanted.map((port) => tryToBind(port, host)));
  const taken = problems.findIndex((problem) => problem !== undefined);
  if (taken >= 0 && first !== undefined) {
    const what = `${names[taken]}'s metrics`;
    throw new PortInUseError(what, wanted[taken]!, 'METRICS_PORT', problems[taken]);
  }
  const any = first === 0 || taken >= 0;
  const ports = any ? await findDistinctFreePorts(names.length) : wanted;
  return Object.fromEntries(names.map((name, index) => [name, ports[index]]));
}
