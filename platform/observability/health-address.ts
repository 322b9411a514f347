/** Where the process of a container serves `/healthz`. */

interface Served {
  /** What the command of such a process contains. */
  readonly program: RegExp;
  readonly portVariable: string;
  /** The port while the variable is not set; none: then it serves nothing. */
  readonly defaultPort?: string;
}

const everyServed: readonly Served[] = [
  { program: /dist\/api\//, portVariable: 'API_PORT', defaultPort: '3000' },
  { program: /dist\/(workers\/(commerce|collector)|bridge\/)/, portVariable: 'METRICS_PORT' },
  { program: /dist\/payments-simulator\//, portVariable: 'PAYMENTS_PORT', defaultPort: '18080' },
];

/**
 * The address on loopback; undefined for a process that serves none: a migration, the operator's command
 * line, or a worker without a known METRICS_PORT.
 *
 * @param command of the container, with its arguments
 */
export function healthAddressOf(
  command: string,
  environment: Readonly<Record<string, string | undefined>>,
): string | undefined {
  const served = everyServed.find(({ program }) => program.test(command));
  if (served === undefined) return undefined;
  const port = environment[served.portVariable] || served.defaultPort;
  return port === undefined || port === '0' ? undefined : `http://127.0.0.1:${port}/healthz`;
}
