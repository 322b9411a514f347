/** What every server of the cluster is. */
import type { Launch } from './daemon';
import type { ClusterPorts, PortName } from './ports';
import type { Report } from './progress';

/** The servers' names, as `npm run cluster -- start SERVER` takes them. */
export const SERVER_NAMES = ['postgres', 'redis', 'kafka', 'temporal', 'payments'] as const;

/** The name of one server. */
export type ServerName = (typeof SERVER_NAMES)[number];

/** What a server is told about the cluster that it belongs to. */
export interface ServerContext {
  /** The server's own folder, an absolute path; it exists. */
  readonly directory: string;
  readonly ports: ClusterPorts;
  readonly report: Report;
  /** Aborted when the command is given up. */
  readonly signal: AbortSignal;
}

/** One server: how to get it, run it, ask it and end it. */
export interface Server {
  readonly name: ServerName;
  /** The ports that it binds. */
  readonly ports: readonly PortName[];
  /**
   * Finds its program, or installs it.
   *
   * @throws ProgramNotFoundError that says what to install.
   */
  readonly find: (context: ServerContext) => Promise<string>;
  /** Makes its data folder ready where it is not yet, and says what to run. */
  readonly prepare: (program: string, context: ServerContext) => Promise<Launch>;
  /** Resolves when the server really does its work; throws when it does not. Ends within seconds. */
  readonly healthy: (ports: ClusterPorts) => Promise<void>;
  /** The signal on which it ends properly. */
  readonly stopSignal: NodeJS.Signals;
  /** Deletes what it keeps outside its own folder. */
  readonly deleteData?: (directory: string) => Promise<void>;
}
