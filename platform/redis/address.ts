/**
 * What `REDIS_URL` names: one server, the sentinels that know the master, or nodes of a Redis Cluster.
 *
 *     redis://USER:PASSWORD@HOST:PORT/DATABASE
 *     redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME-OF-THE-MASTER
 *     redis+cluster://USER:PASSWORD@HOST:PORT,HOST:PORT
 *
 * `rediss` instead of `redis` for TLS. User and password are those of the data; sentinels that ask for
 * others get `?sentinelUsername=…&sentinelPassword=…`.
 */

/** A server. */
interface Node {
  readonly host: string;
  readonly port: number;
}

interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** A parsed `REDIS_URL`. */
export type RedisAddress =
  | { readonly kind: 'single'; readonly tls: boolean; readonly url: string }
  | {
      readonly kind: 'sentinel';
      readonly tls: boolean;
      readonly nodes: readonly Node[];
      readonly credentials: Credentials;
      /** The name under which the sentinels know the master. */
      readonly name: string;
      readonly sentinelCredentials: Credentials;
    }
  | {
      readonly kind: 'cluster';
      readonly tls: boolean;
      readonly nodes: readonly Node[];
      readonly credentials: Credentials;
    };

const form =
  /^(?<protocol>rediss?)(?:\+(?<kind>sentinel|cluster))?:\/\/(?<user>[^/?#]*@)?(?<hosts>[^/?#]+)(?<rest>.*)$/;

/** @throws TypeError that names what is wrong, and no more of the address */
export function parseRedisUrl(text: string): RedisAddress {
  const { protocol, kind, user = '', hosts, rest } = form.exec(text)?.groups ?? {};
  if (hosts === undefined) {
    throw new TypeError('must begin redis://, redis+sentinel:// or redis+cluster://, or rediss');
  }
  const urls = hosts.split(',').map((host) => parse(`redis://${user}${host}${rest}`));
  const tls = protocol === 'rediss';
  if (kind === undefined) {
    if (urls.length === 1) return { kind: 'single', tls, url: text };
    throw new TypeError('names several hosts: begin it redis+sentinel:// or redis+cluster://');
  }
  const { username, password, pathname, searchParams } = urls[0]!;
  const credentials = { username: decoded(username), password: decoded(password) };
  const path = decodeURIComponent(pathname.slice(1));
  if (kind === 'cluster') {
    if (path !== '') throw new TypeError('names a database, and a Redis Cluster has only one');
    return { kind, tls, credentials, nodes: urls.map((url) => nodeOf(url, 6379)) };
  }
  if (path === '') throw new TypeError('must end with the name of the master: /NAME');
  const sentinelCredentials = {
    username: searchParams.get('sentinelUsername') ?? undefined,
    password: searchParams.get('sentinelPassword') ?? undefined,
  };
  const nodes = urls.map((url) => nodeOf(url, 26379));
  return { kind: 'sentinel', tls, credentials, nodes, name: path, sentinelCredentials };
}

function parse(text: string): URL {
  if (!URL.canParse(text)) throw new TypeError('is no address of Redis');
  return new URL(text);
}

function decoded(text: string): string | undefined {
  return text === '' ? undefined : decodeURIComponent(text);
}

function nodeOf({ hostname, port }: URL, defaultPort: number): Node {
  return { host: hostname.replace(/^\[(.+)\]$/, '$1'), port: Number(port || defaultPort) };
}
