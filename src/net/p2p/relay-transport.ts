/** Circuits, as a transport: to dial peers over a relay, and to be met over one. */
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { OpenSeedError } from '../../base/errors.ts'

// Of one connection to a relay: each is a buyer.
const mostCircuits = 1_000

type Make = ReturnType<typeof circuitRelayTransport>
type Transport = ReturnType<Make> & { reservationStore?: { hasReservation?: unknown } }

/**
 * The stock transport, less its own reservations. A circuit over a relay that it did not reserve at makes it reserve
 * there first, and what it reserves it neither makes again after a failure nor tells apart: the keeper does this.
 */
export function circuits(): Make {
  const make = circuitRelayTransport({ maxInboundStopStreams: mostCircuits })
  return (components) => {
    const transport: Transport = make(components)
    const { reservationStore } = transport
    if (typeof reservationStore?.hasReservation !== 'function') {
      throw new OpenSeedError('internal_error', { message: 'libp2p has changed.' })
    }
    reservationStore.hasReservation = () => true
    return transport
  }
}
