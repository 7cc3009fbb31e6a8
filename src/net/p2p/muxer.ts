/** yamux with fewer words. */
import type { StreamMuxerFactory } from '@libp2p/interface'
import { yamux, type YamuxMuxerInit } from '@libp2p/yamux'

/** What has no public way in, of a stream and of what makes streams. */
interface StreamInternals {
  /** 3: both sides have said that the stream stands. */
  state: number
  recvWindow: number
  recvWindowCapacity: number
  sendWindowUpdate(): void
}

interface MuxerInternals {
  _newStream(...about: unknown[]): StreamInternals
}

const established = 3

/**
 * The stock one answers every frame of data with a frame that gives its room back, which costs both sides as much as
 * the data did. Here that waits until half of the window is used; the other side always has the other half.
 */
export function frugalYamux(init: YamuxMuxerInit): () => StreamMuxerFactory {
  return () => {
    const factory = yamux(init)()
    const createMuxer = factory.createStreamMuxer.bind(factory)
    factory.createStreamMuxer = (connection) => {
      const muxer = createMuxer(connection)
      makeFrugal(muxer as unknown as MuxerInternals)
      return muxer
    }
    return factory
  }
}

function makeFrugal(muxer: MuxerInternals): void {
  const newStream = muxer._newStream.bind(muxer)
  muxer._newStream = (...about) => {
    const stream = newStream(...about)
    const sendWindowUpdate = stream.sendWindowUpdate.bind(stream)
    stream.sendWindowUpdate = () => {
      const isEarly = stream.recvWindowCapacity > stream.recvWindow / 2
      if (!isEarly || stream.state !== established) sendWindowUpdate()
    }
    return stream
  }
}
