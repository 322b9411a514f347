/**
 * Which servers each program speaks to. On Kubernetes all programs share one ConfigMap, and each has a Secret
 * with what its own servers ask for: whether the settings of any other server are complete is not for it to
 * judge.
 */

/** A server whose settings are several variables that need each other. PostgreSQL has one. */
export type Server = 'kafka' | 'redis' | 'temporal';

export const allServers: readonly Server[] = ['kafka', 'redis', 'temporal'];

const fewerServers: Readonly<Record<string, readonly Server[]>> = {
  'worker:commerce': ['kafka', 'temporal'],
  bridge: ['kafka', 'temporal'],
  migrate: ['kafka', 'temporal'],
  promote: ['temporal'],
};

/** The servers of a program, by the name that it logs with; all of them unless it has fewer. */
export function serversOf(program: string): readonly Server[] {
  return fewerServers[program] ?? allServers;
}
