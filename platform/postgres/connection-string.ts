/**
 * Connection strings of PostgreSQL, with several hosts and `target_session_attrs` as in libpq.
 * https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
 */

/** Which servers a connection may have: any that answers, or only one that takes writes. */
type TargetSession = (typeof targetSessions)[number];

// The others of libpq are for standbys, where no process of ours can work.
const targetSessions = ['any', 'read-write', 'primary'] as const;

/** A connection string, taken apart. */
export interface ConnectionTarget {
  /** A connection string for each host, in their order, without `target_session_attrs`. */
  readonly servers: readonly [string, ...string[]];
  readonly targetSession: TargetSession;
}

const connectionString =
  /^(?<scheme>postgres(?:ql)?:\/\/)(?<user>[^/?#]*@)?(?<hosts>[^/?#]*)(?<rest>.*)$/;

/** @throws TypeError that names what is wrong, and no more of the string */
export function parseConnectionString(text: string): ConnectionTarget {
  const { scheme, user = '', hosts, rest } = connectionString.exec(text)?.groups ?? {};
  if (scheme === undefined || hosts === undefined) throw new TypeError('must begin postgres://');
  const urls = hosts.split(',').map((host) => {
    const url = `${scheme}${user}${host}${rest}`;
    if (!URL.canParse(url)) throw new TypeError('is no connection string');
    return new URL(url);
  });
  const targetSession = urls[0]!.searchParams.get('target_session_attrs') ?? 'any';
  if (!isTargetSession(targetSession)) {
    throw new TypeError(`target_session_attrs must be one of ${targetSessions.join(', ')}`);
  }
  for (const { searchParams } of urls) searchParams.delete('target_session_attrs');
  const [first, ...others] = urls.map(({ href }) => href);
  return { servers: [first!, ...others], targetSession };
}

function isTargetSession(text: string): text is TargetSession {
  return (targetSessions as readonly string[]).includes(text);
}
