/**
 * The workflow bundle for Temporal's sandbox. Bundling takes seconds of CPU, so bundles are cached by a
 * hash of the sources.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { version as openTelemetryVersion } from '@opentelemetry/sdk-trace-base/package.json';
import { version } from '@temporalio/worker/package.json';
import {
  failureConverterPath,
  payloadConverterPath,
} from '../platform/temporal/payload-encryption';

const root = path.join(__dirname, '..');

const passingInterceptors = path.join(root, 'workflows', 'trace-context');

function recordingInterceptors(): string {
  return require.resolve('@temporalio/interceptors-opentelemetry/lib/workflow-interceptors');
}

export interface WorkflowBundleOptions {
  /** Whether payloads are encrypted: then the bundle encodes failures as payloads. */
  readonly encrypted?: boolean;
  /** Whether workflows record traces; otherwise they only propagate them. */
  readonly traced?: boolean;
}

/** The path of the current workflows' bundle, built if missing. */
export async function findWorkflowBundle({
  encrypted = false,
  traced = false,
}: WorkflowBundleOptions = {}): Promise<string> {
  const folder = path.join(root, '.workflow-bundle');
  const kind = `${encrypted ? '-encrypted' : ''}${traced ? '-traced' : ''}`;
  const file = path.join(folder, `${await hashSources()}${kind}.js`);
  if (existsSync(file)) return file;
  const { code } = await bundleWorkflowCode({
    workflowsPath: path.join(root, 'workflows'),
    payloadConverterPath,
    ...(encrypted ? { failureConverterPath } : {}),
    workflowInterceptorModules: [traced ? recordingInterceptors() : passingInterceptors],
    logger: new DefaultLogger('WARN'),
  });
  await mkdir(folder, { recursive: true });
  // Several workers may start at once: each writes its own file, and the last rename wins.
  const temporary = `${file}.${process.pid}`;
  await writeFile(temporary, code);
  await rename(temporary, file);
  return file;
}

/** Build ID of the current workflows; it changes with their code. */
export function workflowBuildId(): Promise<string> {
  return hashSources();
}

// What can end up in the bundle, and the version of the SDK that bundles and runs it.
async function hashSources(): Promise<string> {
  const hash = createHash('sha256').update(process.version);
  hash
    .update(version)
    .update(openTelemetryVersion)
    .update(await readFile(payloadConverterPath))
    .update(await readFile(failureConverterPath));
  for (const folder of ['events', 'workflows']) {
    for (const file of await filesBelow(path.join(root, folder))) {
      hash.update(`${path.relative(root, file)}\n`).update(await readFile(file));
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/** Every file in a folder and in those below it, in the order of their paths. */
export async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
}
