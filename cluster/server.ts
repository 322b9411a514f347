/** The interface of a cluster's server. */
import type { Launch } from './daemon';
import type { ClusterPorts, PortName } from './ports';
import type { Report } from './progress';

/**
 * The servers' names, as `npm run cluster -- start SERVER` takes them. Of three brokers, `kafka` is all,
 * and each has a name of its own.
 */
export const serverNames = [
  'postgres',
  'redis',
  'kafka',
  'kafka-1',
  'kafka-2',
  'kafka-3',
  'temporal',
  'payments',
] as const;

export type ServerName = (typeof serverNames)[number];

/** The cluster that a server belongs to. */
export interface ServerContext {
  /** The server's own folder, an absolute path; it exists. */
  readonly directory: string;
  readonly ports: ClusterPorts;
  readonly report: Report;
  /** Aborted when the command is interrupted. */
  readonly signal: AbortSignal;
}

/** A server: how to install, run, health-check and stop it. */
export interface Server {
  readonly name: ServerName;
  readonly ports: readonly [PortName, ...PortName[]];
  /**
   * Finds its program, or installs it.
   *
   * @throws ProgramNotFoundError that says what to install.
   */
  readonly find: (context: ServerContext) => Promise<string>;
  /** Prepares its data folder if necessary, and returns what to run. */
  readonly prepare: (program: string, context: ServerContext) => Promise<Launch>;
  /** Health check: throws when the server does not work. Ends within seconds. */
  readonly healthy: (ports: ClusterPorts) => Promise<void>;
  /** The signal for a graceful stop. */
  readonly stopSignal: NodeJS.Signals;
  /** Deletes its data outside its own folder. */
  readonly deleteData?: (directory: string) => Promise<void>;
}
