/** Queries of channels and their requests: both roles keep them in tables of the same names, with columns of their own. */
import { sql, type Db } from './open.ts'
import { fromColumns, type Columns } from './rows.ts'

interface RequestKey {
  channelId: string
  id: string
}

export function channelReads<
  Channel extends { id: string; openRequests?: Request[] },
  Request extends RequestKey,
>(channelColumns: Columns<Channel>, requestColumns: Columns<Request>) {
  const toRequest = (record: unknown): Request => fromColumns<Request>(requestColumns, record)
  const toChannel = (record: unknown, openRequests: Request[]): Channel => ({
    ...fromColumns<Channel>(channelColumns, record),
    openRequests,
  })

  return {
    /** Every channel with its open requests. */
    loadChannels: (db: Db): Channel[] => {
      const requests = sql(db, `SELECT * FROM requests WHERE state = 'open' ORDER BY rowid`)
        .all()
        .map(toRequest)
      const open = Map.groupBy(requests, (request) => request.channelId)
      return sql(db, `SELECT * FROM channels ORDER BY rowid`)
        .all()
        .map((record) => toChannel(record, open.get((record as { id: string }).id) ?? []))
    },

    loadChannel: (db: Db, { channelId }: { channelId: string }): Channel | null => {
      const record = sql(db, `SELECT * FROM channels WHERE id = ?`).get(channelId)
      if (!record) return null
      const open = sql(db, `SELECT * FROM requests WHERE channelId = ? AND state = 'open' ORDER BY rowid`)
      return toChannel(record, open.all(channelId).map(toRequest))
    },

    findRequest: (db: Db, key: RequestKey): Request | null => {
      const record = sql(db, `SELECT * FROM requests WHERE channelId = @channelId AND id = @id`).get(key)
      return record ? toRequest(record) : null
    },
  }
}
