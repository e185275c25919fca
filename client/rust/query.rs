//! Calls without side effects on cards: how long they may take, and when they are repeated.

use std::{future::Future, time::Duration};

use cardbroker_proto::v1::card_broker_service_client::CardBrokerServiceClient;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use crate::{
    Client, Error,
    repeat::{ConnectRetry, is_lost},
    route::Route,
};

/// The broker answers queries from memory and accepts a watch at once: a longer time means that it is stuck.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) type Stub = CardBrokerServiceClient<Route>;

/// The treatment of a call whose connection was lost before anything from the broker arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterLoss {
    /// It is made once more.
    Repeat,
    /// It fails: a repeat would report something else.
    Fail,
}

impl Client {
    pub(crate) fn stub(&self) -> Stub {
        CardBrokerServiceClient::new(self.route())
    }

    /// Makes a call of the cards' service without side effects on cards.
    pub(crate) async fn query<M: Clone, T, F>(
        &self,
        message: M,
        call: impl Fn(Stub, Request<M>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.ask(message, |stub, request| call(stub, in_time(request))).await
    }

    /// Makes a query or opens a watch of the cards' service.
    pub(crate) async fn ask<M: Clone, T, F>(&self, message: M, call: impl Fn(Stub, Request<M>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        self.call(message, AfterLoss::Repeat, |request| call(self.stub(), request)).await
    }

    /// Makes a call of any service: retries while there is no broker, and once more after a loss if `after_loss` says
    /// so.
    pub(crate) async fn call<M: Clone, T, F>(
        &self,
        message: M,
        after_loss: AfterLoss,
        call: impl Fn(Request<M>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let retry = ConnectRetry::of(self.connect_timeout());
        let mut may_repeat = after_loss == AfterLoss::Repeat;
        loop {
            let asking = call(self.request(message.clone())?);
            // tonic's own timer stops at the response's headers.
            let error = match timeout(QUERY_TIMEOUT, asking).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => Error::of_query(self.endpoint(), &status),
                Err(_) => return Err(Error::deadline_passed().not_sent()),
            };
            if is_lost(&error) && may_repeat {
                may_repeat = false;
                continue;
            }
            if !retry.pause(&error).await {
                return Err(error);
            }
        }
    }
}

/// Gives the request of a query its deadline.
pub(crate) fn in_time<M>(mut request: Request<M>) -> Request<M> {
    request.set_timeout(QUERY_TIMEOUT);
    request
}
