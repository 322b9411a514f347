/**
 * What the API server, KEDA and the Prometheus Operator would say of a manifest: values by the validators
 * of their schemas, and fields that no schema has by TypeScript, which takes none that a type lacks.
 */
import path from 'node:path';
import ts from 'typescript';
import type { Manifest } from '../../testkit/kustomize';
import { root } from '../docs/markdown';

const folders: Readonly<Record<string, string>> = {
  'keda.sh': '@kubernetes-models/keda/keda.sh',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator/monitoring.coreos.com',
};

/** Where the model of a kind is: `kubernetes-models/apps/v1/Deployment`. */
function modelOf({ apiVersion, kind }: Manifest): string {
  const [group = ''] = apiVersion.split('/');
  const version = folders[group] === undefined ? `kubernetes-models/${apiVersion}` : undefined;
  return `${version ?? `${folders[group]}/${apiVersion.split('/')[1]}`}/${kind}`;
}

type Model = new (data: Manifest) => { validate(): void };

/** Every value that its schema does not allow, and every field that must be there and is not. */
export function wrongValuesOf(manifests: readonly Manifest[]): string[] {
  return manifests.flatMap((manifest) => {
    // eslint-disable-next-line @typescript-eslint/no-require-imports -- its name depends on the kind
    const { [manifest.kind]: model } = require(modelOf(manifest)) as Record<string, Model>;
    try {
      new model!(manifest).validate();
      return [];
    } catch (error) {
      return [`${manifest.kind} ${manifest.metadata.name}: ${(error as Error).message}`];
    }
  });
}

/** Every complaint of the compiler about the manifests, written as literals of their types. */
export function wrongFieldsOf(manifests: readonly Manifest[]): string[] {
  const source = manifests.map(
    (manifest) =>
      `{ const manifest: import('${modelOf(manifest)}').I${manifest.kind} = ` +
      `${JSON.stringify(manifest)}; void manifest; }`,
  );
  const file = path.join(root, 'test', 'deploy', 'manifests-as-literals.ts');
  const options: ts.CompilerOptions = {
    module: ts.ModuleKind.Node20,
    target: ts.ScriptTarget.ES2023,
    strict: true,
    skipLibCheck: true,
    noEmit: true,
    types: [],
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (name, ...others) =>
    name === file
      ? ts.createSourceFile(name, source.join('\n'), ts.ScriptTarget.ES2023)
      : getSourceFile(name, ...others);
  host.fileExists = (name) => name === file || ts.sys.fileExists(name);
  const program = ts.createProgram([file], options, host);
  return program.getSemanticDiagnostics(program.getSourceFile(file)).map((problem) => {
    const { line } = problem.file!.getLineAndCharacterOfPosition(problem.start!);
    const { kind, metadata } = manifests[line]!;
    const message = ts.flattenDiagnosticMessageText(problem.messageText, ' ');
    return `${kind} ${metadata.name}: ${message}`;
  });
}
