/** How the dashboard's page and files are served. */
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import Fastify, { type FastifyInstance } from 'fastify';
import { serializerCompiler } from 'fastify-type-provider-zod';
import { dashboardRoutes } from '../../../api/dashboard/routes';
import { problemDetails } from '../../../api/http/plugins/problem-details';
import { securityHeaders } from '../../../api/http/plugins/security-headers';
import { validateInput } from '../../../api/http/validation';

let app: FastifyInstance;

beforeAll(async () => {
  app = Fastify();
  app.setValidatorCompiler(validateInput);
  app.setSerializerCompiler(serializerCompiler);
  await app.register(problemDetails);
  await app.register(securityHeaders);
  await app.register(dashboardRoutes);
});

afterAll(() => app.close());

async function filesOfPage(): Promise<string[]> {
  const { body } = await app.inject('/');
  return [...body.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, file]) => file!);
}

test('the page is always asked for, and its policy allows nothing inline and no other host', async () => {
  const { headers, body } = await app.inject('/');
  expect(headers['cache-control']).toBe('no-cache');
  const policy = String(headers['content-security-policy']);
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toMatch(/unsafe|https?:|\*|data:/);
  expect(body).not.toMatch(/<style|<script(?![^>]* src=)| style=| on\w+=|https?:/);
});

test('its files are named by their content, cached for ever, and compressed', async () => {
  const files = await filesOfPage();
  expect(files).toHaveLength(4);
  for (const file of files) {
    expect(file).toMatch(/^\/assets\/[\w-]+-[A-Z0-9]{8}\.(js|css|svg|woff2)$/);
    const plain = await app.inject(file);
    expect(plain.statusCode).toBe(200);
    expect(plain.headers['cache-control']).toBe('public, max-age=31536000, immutable');
    expect(plain.headers['content-encoding']).toBeUndefined();
    if (file.endsWith('.woff2')) continue;
    const accepting = (coding: string) =>
      app.inject({ url: file, headers: { 'accept-encoding': coding } });
    const br = await accepting('gzip, deflate, br');
    expect(br.headers).toMatchObject({ 'content-encoding': 'br', vary: 'accept-encoding' });
    expect(brotliDecompressSync(br.rawPayload)).toEqual(plain.rawPayload);
    const gzip = await accepting('gzip');
    expect(gunzipSync(gzip.rawPayload)).toEqual(plain.rawPayload);
    expect((await accepting('zstd')).headers['content-encoding']).toBeUndefined();
  }
});

test('all of it weighs less than 100 KiB on the way', async () => {
  let bytes = 0;
  for (const file of await filesOfPage()) {
    const headers = { 'accept-encoding': 'br' };
    bytes += (await app.inject({ url: file, headers })).rawPayload.byteLength;
  }
  expect(bytes).toBeLessThan(100 * 1024);
});

test('a file that is not there is 404', async () => {
  const { statusCode, headers } = await app.inject('/assets/script-OLD.js');
  expect(statusCode).toBe(404);
  expect(headers['content-type']).toMatch(/problem\+json/);
});
