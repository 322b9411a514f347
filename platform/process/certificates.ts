/** Certificates and keys in files, which variables name. */
import { readFileSync } from 'node:fs';
import { ConfigurationError } from './config';

/**
 * What is in the file, PEM.
 *
 * @param variable who names the file, for the error
 * @throws ConfigurationError when it cannot be read
 */
export function readCertificateFile(variable: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code = 'unreadable' } = error as NodeJS.ErrnoException;
    throw new ConfigurationError(
      `Wrong configuration:\n  ${variable}: the file ${file} cannot be read (${code})`,
      { cause: error },
    );
  }
}
