/**
 * The second half of `npm run generate`: writes what follows from the declarations of event types and
 * projections, to be read and committed: their released schemas, and the next migration. And the pages
 * and manifests that follow from other files.
 */
import { runProgram } from '../platform/process/program';
import { plannedAlertManifest } from './alert-manifest';
import { plannedConfigurationPage } from './configuration-page';
import { root, write } from './files';
import { plannedLocalServers } from './local-servers';
import { plannedProjectionFiles } from './projections';
import { plannedSchemaFiles } from './released-schemas';

async function main(): Promise<void> {
  write(plannedSchemaFiles());
  write(plannedProjectionFiles(root));
  write([plannedConfigurationPage(root), plannedAlertManifest(root)]);
  write(plannedLocalServers(root));
}

runProgram(main, { explain: (error) => (error instanceof Error ? error.message : error) });
