/** Entry of the writer thread: it alone writes the database, and never keeps the main thread waiting for a disk. */
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads'
import { asOpenSeedError } from '../base/errors.ts'
import { sqliteCode, toPlainError, unavailable, type PlainError } from './faults.ts'
import { runGroup, type Call, type Reply } from './group.ts'
import { migrate, type SchemaName } from './migrate.ts'
import { makeDurable, openFile, type Db } from './open.ts'
import { operations } from './operations.ts'

export interface WriterStart {
  path: string
  schema: SchemaName
}

/** Calls made in one turn of the main thread's loop come as one message; `close` is the last one. */
export type ToWriter = Call[] | 'close'
export type FromWriter =
  | { kind: 'ready' }
  | { kind: 'failed'; error: PlainError }
  | { kind: 'replies'; replies: Reply[] }

function serve(port: MessagePort, start: WriterStart): void {
  const db = open(start)
  const post = (message: FromWriter) => port.postMessage(message)
  port.on('message', (first: ToWriter) => {
    const messages = [first, ...waiting(port)]
    const replies = runGroup(
      db,
      operations[start.schema],
      messages.filter((message) => message !== 'close').flat(),
    )
    post({ kind: 'replies', replies })
    if (messages.includes('close')) {
      db.close()
      port.close()
    }
  })
  post({ kind: 'ready' })
}

function open({ path, schema }: WriterStart): Db {
  try {
    const db = openFile(path, { readonly: false, timeoutMs: 5000 })
    makeDurable(db)
    migrate(db, schema)
    return db
  } catch (thrown) {
    throw sqliteCode(thrown) ? unavailable(thrown) : thrown
  }
}

/** Everything that arrived while the previous group was on its way to the disk. */
function* waiting(port: MessagePort): Generator<ToWriter> {
  for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
    yield next.message as ToWriter
  }
}

if (parentPort) {
  try {
    serve(parentPort, workerData as WriterStart)
  } catch (thrown) {
    parentPort.postMessage({
      kind: 'failed',
      error: toPlainError(asOpenSeedError(thrown)),
    } satisfies FromWriter)
    parentPort.close()
  }
}
