/**
 * The dashboard's files: its page, and what the page loads. They are bundled once, when the first of
 * them is asked for, so that a server that takes orders does not wait for its dashboard. Names carry
 * a hash of the content, so browsers may cache them without expiry.
 */
import path from 'node:path';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { build, stop, type OutputFile } from 'esbuild';
import { pageHtml } from './page';

/** A file as it is served. */
export interface Asset {
  readonly contentType: string;
  /** By the content coding that a client accepts; `identity` is always there. */
  readonly bodies: Readonly<Partial<Record<ContentCoding, Buffer>> & { identity: Buffer }>;
}

/** How a body may be compressed. */
export type ContentCoding = 'br' | 'gzip' | 'identity';

/** Everything that the dashboard consists of. */
export interface DashboardAssets {
  readonly page: Asset;
  /** What the page loads, by file name. */
  readonly files: ReadonlyMap<string, Asset>;
}

/** Where the page finds its files. */
export const assetPath = '/assets';

/** A function that bundles the dashboard on its first call, and answers the same from then on. */
export function createAssetLoader(): () => Promise<DashboardAssets> {
  let loading: Promise<DashboardAssets> | undefined;
  return () => {
    loading ??= bundle().catch((error: unknown) => {
      loading = undefined;
      throw error;
    });
    return loading;
  };
}

const clientFolder = path.join(__dirname, 'client');

async function bundle(): Promise<DashboardAssets> {
  const { outputFiles } = await build({
    entryPoints: {
      script: path.join(clientFolder, 'main.ts'),
      style: path.join(clientFolder, 'style.css'),
      icon: path.join(clientFolder, 'icon.svg'),
      runbook: path.join(__dirname, '..', '..', 'docs', 'runbook.md'),
    },
    absWorkingDir: __dirname,
    outdir: 'bundle',
    publicPath: assetPath,
    entryNames: '[name]-[hash]',
    assetNames: '[name]-[hash]',
    loader: { '.woff2': 'file', '.svg': 'copy', '.md': 'copy' },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2023',
    logLevel: 'silent',
  });
  // Ends the process of esbuild.
  await stop();
  const names = outputFiles.map(({ path: file }) => path.basename(file));
  const page = pageHtml({
    script: urlOf(names, '.js'),
    style: urlOf(names, '.css'),
    font: urlOf(names, '.woff2'),
    icon: urlOf(names, '.svg'),
    runbook: urlOf(names, '.md'),
  });
  const files = await Promise.all(
    outputFiles.map(async (file) => [path.basename(file.path), await toAsset(file)] as const),
  );
  return {
    page: await compressed('text/html; charset=utf-8', Buffer.from(page)),
    files: new Map(files),
  };
}

function urlOf(names: readonly string[], extension: string): string {
  const name = names.find((each) => each.endsWith(extension));
  if (name === undefined) throw new TypeError(`The dashboard's bundle has no ${extension} file.`);
  return `${assetPath}/${name}`;
}

const contentTypes: Readonly<Record<string, string>> = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
  '.md': 'text/markdown; charset=utf-8',
};

async function toAsset({ path: file, contents }: OutputFile): Promise<Asset> {
  const extension = path.extname(file);
  const contentType = contentTypes[extension] ?? 'application/octet-stream';
  const body = Buffer.from(contents);
  // The font is compressed already.
  return extension === '.woff2'
    ? { contentType, bodies: { identity: body } }
    : compressed(contentType, body);
}

async function compressed(contentType: string, body: Buffer): Promise<Asset> {
  const [br, gz] = await Promise.all([
    promisify(brotliCompress)(body, {
      params: {
        [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
        [constants.BROTLI_PARAM_SIZE_HINT]: body.byteLength,
      },
    }),
    promisify(gzip)(body, { level: constants.Z_BEST_COMPRESSION }),
  ]);
  return { contentType, bodies: { br, gzip: gz, identity: body } };
}
