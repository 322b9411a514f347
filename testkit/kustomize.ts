/**
 * What `kubectl kustomize` makes of a folder, for as much of kustomize as deploy/kubernetes uses:
 * resources, a namespace, images, and JSON patches. Anything else is refused, so that no test reads what
 * a cluster would not get.
 */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { z } from 'zod';

/** An object for a cluster. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  // Each kind has its own; the schemas check it.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly [field: string]: any;
}

const kustomization = z.strictObject({
  apiVersion: z.literal('kustomize.config.k8s.io/v1beta1'),
  kind: z.literal('Kustomization'),
  namespace: z.string(),
  resources: z.array(z.string()),
  images: z
    .array(z.strictObject({ name: z.string(), newName: z.string(), newTag: z.string() }))
    .default([]),
  patches: z
    .array(
      z.strictObject({
        path: z.string(),
        target: z.strictObject({ kind: z.string(), name: z.string().optional() }),
      }),
    )
    .default([]),
});

const operations = z.array(
  z.discriminatedUnion('op', [
    z.strictObject({ op: z.enum(['add', 'replace']), path: z.string(), value: z.unknown() }),
    z.strictObject({ op: z.literal('remove'), path: z.string() }),
  ]),
);

type Operation = z.output<typeof operations>[number];

/** A patch or an image that has nothing to change. */
class KustomizationError extends Error {
  override readonly name = 'KustomizationError';
  readonly code = 'KUSTOMIZATION_INVALID';
}

/**
 * The manifests of a folder with a `kustomization.yaml`.
 *
 * @throws ZodError for what is not known here
 * @throws KustomizationError for a patch that fits nothing
 */
export function render(folder: string): Manifest[] {
  const { namespace, resources, images, patches } = kustomization.parse(
    parse(readFileSync(path.join(folder, 'kustomization.yaml'), 'utf8')),
  );
  const manifests = resources.flatMap((resource) => readResource(path.join(folder, resource)));
  for (const { path: file, target } of patches) {
    const patch = operations.parse(parse(readFileSync(path.join(folder, file), 'utf8')));
    const targets = manifests.filter(
      ({ kind, metadata }) =>
        kind === target.kind && (target.name ?? metadata.name) === metadata.name,
    );
    if (targets.length === 0)
      throw new KustomizationError(`${folder}: ${file} is for nothing that is here.`);
    for (const manifest of targets) for (const operation of patch) apply(operation, manifest);
  }
  for (const container of manifests.flatMap(containersOf)) {
    const renamed = images.find(({ name }) => name === container.image);
    if (renamed !== undefined) container.image = `${renamed.newName}:${renamed.newTag}`;
  }
  return manifests.map((manifest) =>
    manifest.kind === 'Namespace'
      ? manifest
      : { ...manifest, metadata: { ...manifest.metadata, namespace } },
  );
}

function readResource(place: string): Manifest[] {
  if (statSync(place).isDirectory()) return render(place);
  // Kubernetes reads YAML 1.1, where an unquoted `no` is false.
  return parseAllDocuments(readFileSync(place, 'utf8'), { version: '1.1' }).map((document) => {
    const [problem] = [...document.errors, ...document.warnings];
    if (problem !== undefined) throw problem;
    return document.toJS() as Manifest;
  });
}

/** The template of the pods that a manifest asks for; undefined for one that asks for none. */
export function podTemplateOf({ kind, spec }: Manifest): Manifest | undefined {
  if (kind === 'CronJob') return spec.jobTemplate.spec.template;
  return ['Deployment', 'Job'].includes(kind) ? spec.template : undefined;
}

function containersOf(manifest: Manifest): { image: string }[] {
  return podTemplateOf(manifest)?.['spec'].containers ?? [];
}

/** RFC 6902, with the pointers of RFC 6901. */
function apply(operation: Operation, manifest: Manifest): void {
  const keys = operation.path
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  const last = keys.pop() ?? '';
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  const parent = keys.reduce<any>((value, key) => value?.[key], manifest);
  const mustExist = operation.op !== 'add';
  if (parent === undefined || (mustExist && !(last in parent)))
    throw new KustomizationError(`${manifest.metadata.name}: there is no ${operation.path}.`);
  if (operation.op === 'remove') delete parent[last];
  else parent[last] = operation.value;
}
