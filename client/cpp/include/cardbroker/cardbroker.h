// The C++ client of Cardbroker: lists readers, runs APDUs on their cards as units, and follows readers and cards.
#pragma once

#include <cardbroker/apdu_bytes.h>
#include <cardbroker/broker.h>
#include <cardbroker/client.h>
#include <cardbroker/command.h>
#include <cardbroker/endpoint.h>
#include <cardbroker/enums.h>
#include <cardbroker/error.h>
#include <cardbroker/failure.h>
#include <cardbroker/reader.h>
#include <cardbroker/response.h>
#include <cardbroker/session.h>
#include <cardbroker/status_word.h>
#include <cardbroker/turn.h>
#include <cardbroker/watch.h>
