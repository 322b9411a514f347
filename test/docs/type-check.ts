/** Types of a project whose files change: what did not change is not read again. */
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

/** The first complaint of the compiler about files below `folder` whose names match; undefined for none. */
export function watchTypes(folder: string): (files: RegExp) => string | undefined {
  let config = readConfig(folder);
  const service = ts.createLanguageService(hostOf(folder, () => config));
  return (files) => {
    config = readConfig(folder);
    for (const file of config.fileNames) {
      const name = path.relative(folder, file);
      if (!files.test(name)) continue;
      const [problem] = [
        ...service.getSyntacticDiagnostics(file),
        ...service.getSemanticDiagnostics(file),
      ];
      if (problem === undefined) continue;
      return ts.flattenDiagnosticMessageText(problem.messageText, '\n').split('\n')[0];
    }
    return undefined;
  };
}

function readConfig(folder: string): ts.ParsedCommandLine {
  const file = path.join(folder, 'tsconfig.json');
  const host = { ...ts.sys, onUnRecoverableConfigFileDiagnostic: () => undefined };
  const config = ts.getParsedCommandLineOfConfigFile(file, {}, host);
  if (config === undefined) throw new Error(`${file} cannot be read.`);
  return config;
}

function hostOf(folder: string, config: () => ts.ParsedCommandLine): ts.LanguageServiceHost {
  const isOwn = (file: string): boolean =>
    file.startsWith(folder) && !file.includes(`${path.sep}node_modules${path.sep}`);
  return {
    ...ts.sys,
    useCaseSensitiveFileNames: () => ts.sys.useCaseSensitiveFileNames,
    getCompilationSettings: () => config().options,
    getScriptFileNames: () => config().fileNames,
    getScriptVersion(file) {
      if (!isOwn(file)) return '1';
      const { mtimeMs, size } = statSync(file);
      return `${mtimeMs} ${size}`;
    },
    getScriptSnapshot: (file) =>
      ts.sys.fileExists(file)
        ? ts.ScriptSnapshot.fromString(readFileSync(file, 'utf8'))
        : undefined,
    getCurrentDirectory: () => folder,
    getDefaultLibFileName: (options) => ts.getDefaultLibFilePath(options),
  };
}
