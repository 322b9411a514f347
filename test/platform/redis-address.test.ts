import { parseRedisUrl } from '../../platform/redis/address';
import { ConfigurationError, readConfig } from '../../platform/process/config';

test('one server is what it always was', () => {
  const url = 'rediss://user:pass@host:1/2';
  expect(parseRedisUrl(url)).toEqual({ kind: 'single', tls: true, url });
});

test('sentinels have the name of the master in the path, and credentials of their own', () => {
  const url =
    'redis+sentinel://us%40er:pa%2Css@one:1,two,[::1]:2/shop?sentinelUsername=watch&sentinelPassword=me';
  expect(parseRedisUrl(url)).toEqual({
    kind: 'sentinel',
    tls: false,
    credentials: { username: 'us@er', password: 'pa,ss' },
    nodes: [
      { host: 'one', port: 1 },
      { host: 'two', port: 26379 },
      { host: '::1', port: 2 },
    ],
    name: 'shop',
    sentinelCredentials: { username: 'watch', password: 'me' },
  });
});

test('a cluster has nodes, and one database', () => {
  expect(parseRedisUrl('rediss+cluster://:pass@one,two:1')).toEqual({
    kind: 'cluster',
    tls: true,
    credentials: { username: undefined, password: 'pass' },
    nodes: [
      { host: 'one', port: 6379 },
      { host: 'two', port: 1 },
    ],
  });
});

test.each([
  ['redis://hush@one,two', 'names several hosts'],
  ['redis+sentinel://hush@one', 'must end with the name of the master'],
  ['redis+cluster://hush@one/1', 'names a database'],
  ['redis+cluster://hush@one:no', 'is no address of Redis'],
  ['redis+ring://hush@one', 'must begin redis://'],
])('%s names the variable and what is wrong, and no more', (REDIS_URL, problem) => {
  const read = (): unknown => readConfig({ REDIS_URL });
  expect(read).toThrow(ConfigurationError);
  expect(read).toThrow(`  REDIS_URL: ${problem}`);
  expect(read).not.toThrow('hush');
});

test('a certificate’s authority is for every address with TLS', () => {
  const read = (url: string) => () =>
    readConfig({ REDIS_TLS_CA_FILE: 'authority.pem', REDIS_URL: url });
  expect(read('rediss+cluster://one')).not.toThrow();
  expect(read('redis+cluster://one')).toThrow(
    '  REDIS_TLS_CA_FILE: needs a REDIS_URL that begins with rediss',
  );
});
