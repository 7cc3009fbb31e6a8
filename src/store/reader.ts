import { existsSync } from 'node:fs'
import { OpenSeedError } from '../base/errors.ts'
import { sqliteCode, unavailable } from './faults.ts'
import { isCurrent, type SchemaName } from './migrate.ts'
import { openFile, type Db } from './open.ts'
import {
  operations,
  type Operation,
  type Operations,
  type OperationsOf,
  type ParamsOf,
  type ResultOf,
} from './operations.ts'

/** Opens a role's database for questions only, beside the running role. Null when the role never ran in this home. */
export function openReader<Schema extends SchemaName>(
  path: string,
  schema: Schema,
): Reader<OperationsOf[Schema]> | null {
  if (!existsSync(path)) return null
  try {
    const db = openFile(path, { readonly: true, timeoutMs: 5000 })
    if (!isCurrent(db, schema)) throw outdated(schema)
    return new Reader<OperationsOf[Schema]>(db, operations[schema].reads)
  } catch (thrown) {
    throw sqliteCode(thrown) ? unavailable(thrown) : thrown
  }
}

/** A read-only connection for one-shot commands; it answers the same questions as the writer, at once. */
export class Reader<Ops extends Operations> implements Disposable {
  readonly #db: Db
  readonly #reads: Record<string, Operation>

  constructor(db: Db, reads: Record<string, Operation>) {
    this.#db = db
    this.#reads = reads
  }

  read<Name extends keyof Ops['reads'] & string>(
    name: Name,
    ...[params]: ParamsOf<Ops['reads'][Name]>
  ): ResultOf<Ops['reads'][Name]> {
    const query = this.#reads[name] as Operation
    // One snapshot, although the query may be several statements and the role is writing.
    return this.#db.transaction(() => query(this.#db, params as never))() as ResultOf<Ops['reads'][Name]>
  }

  close(): void {
    this.#db.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

function outdated(schema: SchemaName): OpenSeedError {
  return new OpenSeedError('store_unavailable', {
    message: `The ${schema} database has an older schema.`,
    hint: `Start the ${schema} once; it brings the database up to date.`,
  })
}
